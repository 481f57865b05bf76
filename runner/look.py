"""What decoding a video shows to those who make a dataset of it."""

from __future__ import annotations

from pathlib import Path

from runner.interfaces import GenerationFailed
from runner.video import read_video
from trainers.datasets.choice import Look
from trainers.datasets.near_duplicates import perceptual_hash

_LARGEST_SIDE = 128
"""Pixels to which videos are decoded; their hash is of 32."""


def look_at(video: Path) -> Look | None:
    """None for a video that cannot be decoded."""
    try:
        frames, fps = read_video(video, max_side=_LARGEST_SIDE)
    except GenerationFailed:
        return None
    return Look(hash=perceptual_hash(frames), frames=len(frames), fps=fps)
