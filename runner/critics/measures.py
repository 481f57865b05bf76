"""Measurements of whole frames that several critics share: working size, change and camera motion."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.interfaces import Frames

WORKING_SIDE = 128
"""Longest side, in pixels, at which frames are measured; smaller frames are not enlarged."""
FLOW_SIDE = 64
"""Longest side for dense optical flow, which is by far the slowest measurement."""
_STILL_SIDE = 64
"""Longest side for detecting change: small enough to average out camera noise but not a moving arm."""
_NOISE_SIDES = (128, 64, 32)
"""Longest sides at which neighbouring pixels are compared."""
_FILLED = 0.5
"""Mean distance from the mean in standard deviations: .8 in noise, less where much of a picture is plain."""
_PLAIN = 2.0
"""Levels of 255. A row or column with a smaller standard deviation in every channel is of one colour."""
_FLAT = 0.5
"""Levels of 255. A frame whose luma has a smaller standard deviation shows nothing."""
_CHANGE = 16.0
"""Levels of 255. A channel that changes by less over a whole video may be noise."""

Gray = NDArray[np.uint8]
"""Luma, shape (T, H, W)."""
Points = NDArray[np.float64]
"""Pixel positions or displacements (x, y), one per row."""


def working_size(frames: Frames, side: int = WORKING_SIDE) -> Frames:
    """Shrinks frames so that their longest side is at most ``side`` pixels."""
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
    """Length of a frame's diagonal in pixels."""
    return float(np.hypot(*gray.shape[1:]))


def camera_steps(gray: Gray) -> Points:
    """The picture's global displacement in pixels from each frame to the next, shape (T - 1, 2).

    Phase correlation (Kuglin and Hines, "The phase correlation image alignment method", 1975), which depends
    neither on brightness nor on small moving things. Zero where a picture has no features to match.
    """
    height, width = gray.shape[1:]
    if min(height, width) < 4:
        return np.zeros((len(gray) - 1, 2))
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    pictures = gray.astype(np.float32)
    pictures -= pictures.mean(axis=(1, 2), keepdims=True)
    steps = np.array([cv2.phaseCorrelate(a, b, window)[0] for a, b in pairwise(pictures)])
    # Nothing moves farther than half a frame, and featureless frames give meaningless values.
    bound = np.array([width, height]) / 2.0
    flat = pictures.std(axis=(1, 2)) < _FLAT
    steps[flat[:-1] | flat[1:]] = 0.0
    return np.asarray(np.clip(np.nan_to_num(steps), -bound, bound), dtype=np.float64)


def steadied(points: Points, steps: Points) -> Points:
    """Positions (T, 2) as a camera at rest would see them, given the picture's displacements (T - 1, 2)."""
    drift = np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return points - drift


def changed_share(frames: Frames, *, of_motion: bool = False) -> float:
    """The fraction of the picture that ever changes: 0 for a still, even with camera noise.

    With ``of_motion``, only what may have moved counts: not the brightness of the whole picture, nor a frame
    that shows nothing or is less than half or more than twice as bright as usual, nor what differs in a
    single frame (a flash). In the tests, an arm that moves by 10 of 832 pixels changes .008 of the picture,
    and one that swings across it changes .15.
    """
    small = working_size(frames, _STILL_SIDE).astype(np.float32)
    if of_motion:
        small = _without_flashes(small)
    if not len(small):
        return 0.0
    return float(((small.max(axis=0) - small.min(axis=0)).max(axis=-1) > _CHANGE).mean())


def _without_flashes(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pictures (T, H, W, C) that show something, equally bright, each the median of three in a row."""
    luma = pictures.mean(axis=3)
    means = luma.mean(axis=(1, 2))
    usual = float(np.percentile(means, 50, method="lower"))
    clear = (luma.std(axis=(1, 2)) >= _FLAT) & (means >= usual / 2.0) & (means <= usual * 2.0)
    lit: NDArray[np.float32] = pictures[clear]
    if len(lit):
        lit *= (means[clear].mean() / means[clear])[:, None, None, None]
    if len(lit) < 5:  # The medians of so few would show hardly any motion.
        return lit
    return np.asarray(np.median([lit[:-2], lit[1:-1], lit[2:]], axis=0), dtype=np.float32)


def likeness_of_neighbours(frames: Frames) -> float:
    """The correlation of neighbouring pixels: near 1 in a picture of things, near 0 in noise.

    Of the picture without plain bars at its edges, the smallest of both directions and several sizes, because
    coarse noise is smooth until it is shrunk. In the tests, films have .8 and more; an arm over a plain table
    full of dots has .24, and noise with a grain of up to a fiftieth of the picture's width .15. 1 if there is
    nothing to compare, or if most of the picture is plain. At most fifteen frames are measured.
    """
    picture = _without_bars(working_size(frames[:: max(1, len(frames) // 8)]))
    return min(_likeness(working_size(picture, side)) for side in _NOISE_SIDES)


def _without_bars(frames: Frames) -> Frames:
    """The frames without edge rows and columns that are of one colour in each frame; unchanged if all are."""
    across, down = (frames.std(axis=axis, dtype=np.float32).max(axis=(0, 2)) for axis in (2, 1))
    rows, columns = np.flatnonzero(across >= _PLAIN), np.flatnonzero(down >= _PLAIN)
    if not len(rows) or not len(columns):
        return frames
    return frames[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _likeness(frames: Frames) -> float:
    # All channels, since noise may be one of hue alone.
    detail = frames.astype(np.float32)
    detail -= detail.mean(axis=(1, 2), keepdims=True)
    power = float((detail**2).mean())
    # Noise fills a picture: few things on a plain ground are none, and need not be alike to their neighbours.
    if float(np.abs(detail).mean()) <= _FILLED * math.sqrt(power):
        return 1.0
    pairs = (detail[:, 1:] * detail[:, :-1], detail[:, :, 1:] * detail[:, :, :-1])
    return min((float(pair.mean()) / power for pair in pairs if pair.size), default=1.0)
