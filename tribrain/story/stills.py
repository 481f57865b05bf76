"""Stills of a video, small enough for a page with many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from runner.interfaces import Frames, GenerationFailed
from runner.video import read_first_frame, read_video

MAX_SIDE = 320
"""Pixels of a still's longest side."""
_QUALITY = 75
_PLAIN = 3.0
"""Standard deviation of the grey values (0 to 255) below which a frame shows nothing."""


@dataclass(frozen=True, slots=True)
class Stills:
    """A video's first and telling frame, each as WebP."""

    first: bytes
    telling: bytes


def stills_of(video: Path) -> Stills | None:
    """Stills of a video's first frame and a telling one; None if it cannot be decoded."""
    try:
        frames, _ = read_video(video, max_side=MAX_SIDE)
    except GenerationFailed:
        return None
    return Stills(_webp(frames[0]), _webp(telling_frame(frames)))


def still_of_first_frame(video: Path) -> bytes:
    """The first frame of a video as WebP. Raises GenerationFailed if it cannot be decoded."""
    return _webp(read_first_frame(video))


def telling_frame(frames: Frames) -> Frames:
    """The last of the frames (T, H, W, 3), which shows the result; shape (H, W, 3).

    Where the video ends in one colour, for example when it fades out, this is the last frame before that; if
    there is no other, it is the last of all.
    """
    seen = (frame for frame in frames[::-1] if np.std(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) > _PLAIN)
    return next(seen, frames[-1])


def _webp(frame: Frames) -> bytes:
    done, encoded = cv2.imencode(
        ".webp", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    )
    if not done:
        raise ValueError(f"a frame of shape {frame.shape} could not be written as WebP")
    return encoded.tobytes()
