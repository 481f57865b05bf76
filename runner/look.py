"""Opens videos for a dataset: what one shows, and a copy in the format that its readers expect."""

from __future__ import annotations

from pathlib import Path

from runner.interfaces import GenerationFailed
from runner.video import is_plain_mp4, read_video, write_as_mp4
from trainers.datasets.choice import DecodedVideo
from trainers.datasets.near_duplicates import perceptual_hash
from trainers.datasets.new_folder import place

_LARGEST_SIDE = 128
"""Longest side in pixels to which videos are decoded; their hash uses 32."""


def look_at(video: Path) -> DecodedVideo | None:
    """The hash, length and rate of a video; None if it cannot be decoded."""
    try:
        frames, fps = read_video(video, max_side=_LARGEST_SIDE)
    except GenerationFailed:
        return None
    return DecodedVideo(hash=perceptual_hash(frames), frames=len(frames), fps=fps)


def put_as_mp4(source: Path, target: Path, link: bool) -> bool:
    """Put a video at ``target``, a ``.mp4`` file, unchanged if it is upright H.264 in MP4, else converted.

    Returns whether it was converted. Raises OSError, and GenerationFailed if it cannot be decoded.
    """
    if is_plain_mp4(source):
        place(source, target, link=link)
        return False
    write_as_mp4(source, target)
    return True
