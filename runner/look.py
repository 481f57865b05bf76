"""Videos for those who make a dataset of them: what is seen in one, and one as its readers take it."""

from __future__ import annotations

from pathlib import Path

from runner.interfaces import GenerationFailed
from runner.video import is_plain_mp4, read_video, write_as_mp4
from trainers.datasets.choice import DecodedVideo
from trainers.datasets.near_duplicates import perceptual_hash
from trainers.datasets.new_folder import place

_LARGEST_SIDE = 128
"""Pixels to which videos are decoded; their hash is of 32."""


def look_at(video: Path) -> DecodedVideo | None:
    """None for a video that cannot be decoded."""
    try:
        frames, fps = read_video(video, max_side=_LARGEST_SIDE)
    except GenerationFailed:
        return None
    return DecodedVideo(hash=perceptual_hash(frames), frames=len(frames), fps=fps)


def put_as_mp4(source: Path, target: Path, link: bool) -> bool:
    """Put a video where a ``.mp4`` is to lie: as it is, or made H.264 in MP4, and upright, where it is not.

    Whether it was converted. Raises OSError, and GenerationFailed for one that cannot be decoded.
    """
    if is_plain_mp4(source):
        place(source, target, link=link)
        return False
    write_as_mp4(source, target)
    return True
