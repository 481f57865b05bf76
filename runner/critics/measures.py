"""What several critics measure: frames at a working size, the camera's motion, a coloured thing's path."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.colours import Colour, Mask, colour_mask
from runner.interfaces import Frames

WORKING_SIDE = 128
"""Pixels of the longest side at which everything is measured; smaller frames stay as they are."""
FLOW_SIDE = 64
"""The same for dense optical flow, which is by far the slowest."""
_LEAST_AREA = 0.0008
"""Of the frame: fewer pixels of a colour are noise rather than a thing."""
_OWN_PART = 0.25
"""Of the largest patch: smaller patches of the colour belong to something else."""
_SEEN_PART = 0.15
"""Of the usual area: with less to see, a centroid says little."""

Gray = NDArray[np.uint8]
"""Luma, shape (T, H, W)."""
Points = NDArray[np.float64]
"""Pixel positions or displacements (x, y), one a row."""


@dataclass(frozen=True, slots=True)
class Track:
    """Where a coloured thing is in each frame."""

    centroids: Points
    """Shape (T, 2); not a number where the thing is not seen."""
    areas: NDArray[np.float64]
    """Pixels, shape (T,)."""
    seen: NDArray[np.bool_]
    """Shape (T,)."""


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


def track(frames: Frames, colour: Colour) -> Track:
    """Follow the pixels of a colour: its largest patch of each frame, with those of a size like it."""
    masks = colour_mask(frames, colour)
    areas = np.zeros(len(masks))
    centroids = np.full((len(masks), 2), np.nan)
    for index, mask in enumerate(masks):
        areas[index], centroids[index] = _patches(mask)
    usual = np.percentile(areas, 75)
    seen = areas >= max(_LEAST_AREA * masks[0].size, _SEEN_PART * usual, 1.0)
    centroids[~seen] = np.nan
    return Track(centroids, areas, seen)


def _patches(mask: Mask) -> tuple[float, Points]:
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    if not len(areas):
        return 0.0, np.full(2, np.nan)
    own = areas >= _OWN_PART * areas.max()
    weights = areas[own]
    centroid: Points = (centres[1:][own] * weights[:, None]).sum(axis=0) / weights.sum()
    return float(weights.sum()), centroid
