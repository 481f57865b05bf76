"""What several critics measure of whole pictures: at a working size, what changes, how the camera moves."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.interfaces import Frames

WORKING_SIDE = 128
"""Pixels of the longest side at which everything is measured; smaller frames stay as they are."""
FLOW_SIDE = 64
"""The same for dense optical flow, which is by far the slowest."""
_STILL_SIDE = 64
"""The same for what changes at all: a camera's noise is averaged away, and an arm's is not."""
_CHANGE = 16.0
"""Of 255: a channel that changes by less over a whole video may be noise."""

Gray = NDArray[np.uint8]
"""Luma, shape (T, H, W)."""
Points = NDArray[np.float64]
"""Pixel positions or displacements (x, y), one a row."""


def working_size(frames: Frames, side: int = WORKING_SIDE) -> Frames:
    """The frames with their longest side at ``side`` pixels or less."""
    height, width = frames.shape[1:3]
    scale = side / max(height, width)
    if scale >= 1.0:
        return frames
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def gray_frames(frames: Frames) -> Gray:
    """Luma (BT.601) of RGB frames."""
    height, width = frames.shape[1:3]
    tall = np.ascontiguousarray(frames).reshape(-1, width, 3)
    gray: Gray = cv2.cvtColor(tall, cv2.COLOR_RGB2GRAY).reshape(-1, height, width)
    return gray


def diagonal(gray: Gray) -> float:
    """Of a frame, in pixels."""
    return float(np.hypot(*gray.shape[1:]))


def camera_steps(gray: Gray) -> Points:
    """The picture's global displacement in pixels from each frame to the next, shape (T - 1, 2).

    Phase correlation (Kuglin and Hines, "The phase correlation image alignment method", 1975), which
    depends on neither brightness nor small moving things. Zero where a picture has nothing to go by.
    """
    height, width = gray.shape[1:]
    if min(height, width) < 4:
        return np.zeros((len(gray) - 1, 2))
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    pictures = gray.astype(np.float32)
    pictures -= pictures.mean(axis=(1, 2), keepdims=True)
    steps = np.array([cv2.phaseCorrelate(a, b, window)[0] for a, b in pairwise(pictures)])
    # Nothing moves farther than half a frame; and flat pictures give nonsense.
    bound = np.array([width, height]) / 2.0
    flat = pictures.std(axis=(1, 2)) < 0.5
    steps[flat[:-1] | flat[1:]] = 0.0
    return np.asarray(np.clip(np.nan_to_num(steps), -bound, bound), dtype=np.float64)


def steadied(points: Points, steps: Points) -> Points:
    """Positions (T, 2) as a camera at rest would see them, given the picture's displacements (T - 1, 2)."""
    drift = np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return points - drift


def changed_share(frames: Frames, *, of_motion: bool = False) -> float:
    """The share of the picture that changes at any time: 0 for a still, however noisy its camera is.

    With ``of_motion`` a change of the whole picture's brightness counts as none. An arm that moves by 10 of
    832 pixels changes .008 of the picture in the tests, one that swings across it .16.
    """
    small = working_size(frames, _STILL_SIDE).astype(np.float32)
    if of_motion:
        means = np.maximum(1.0, small.mean(axis=(1, 2, 3), keepdims=True))
        small *= means.mean() / means
    return float(((small.max(axis=0) - small.min(axis=0)).max(axis=-1) > _CHANGE).mean())


def likeness_of_neighbours(gray: Gray) -> float:
    """The correlation of neighbouring pixels: near 1 in a picture of things, near 0 in noise.

    The smaller one of rows and columns. 1 where nothing is to be compared.
    """
    detail = gray.astype(np.float32)
    detail -= detail.mean(axis=(1, 2), keepdims=True)
    power = float((detail**2).mean())
    if power == 0.0:
        return 1.0
    pairs = (detail[:, 1:] * detail[:, :-1], detail[:, :, 1:] * detail[:, :, :-1])
    return min((float(pair.mean()) / power for pair in pairs if pair.size), default=1.0)
