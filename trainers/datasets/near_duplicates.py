"""Finds near-duplicate videos by perceptual hashes of some of their frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from trainers.datasets.rewards import RatedSample
from trainers.datasets.samples import goal_of

Frames = NDArray[np.uint8]
"""RGB, shape (T, H, W, 3)."""
Hash = NDArray[np.bool_]
"""Shape (FRAMES, 64): the bits of each hashed frame."""

FRAMES = 8
"""Hashed frames, spread evenly over the video, so length and frame rate do not matter."""
NEAR = 3.0
"""Mean bits per frame, of 64, up to which two videos are duplicates. Simulated videos of one task were at
least 5.25 apart. A video was at most 2.0 from itself at half the size, and 3.5 when compressed to crf 35."""


def perceptual_hash(frames: Frames) -> Hash:
    """ImageHash's pHash (the signs of a frame's low frequencies) of FRAMES frames."""
    import imagehash
    from PIL import Image

    places = [int((i + 0.5) * len(frames) / FRAMES) for i in range(FRAMES)]
    return np.stack([imagehash.phash(Image.fromarray(frames[i])).hash.ravel() for i in places])


def distance(a: Hash, b: Hash) -> float:
    """Different bits per frame, 0 to 64."""
    return float(np.count_nonzero(a != b)) / len(a)


def near_duplicates(
    samples: Iterable[RatedSample], hashes: Mapping[str, Hash], nearest: float = NEAR
) -> dict[str, str]:
    """Maps each duplicate's id to that of the better sample, independent of the samples' order.

    Duplicates share a task or a goal, in any split, and are at most ``nearest`` bits per frame apart. The one
    with the highest reward is kept; of equals the one that lacks fewer scores, then by id.
    """
    kept: dict[tuple[str, str], list[str]] = {}
    copies: dict[str, str] = {}
    for sample in sorted(samples, key=lambda s: s.rank):
        groups = [("task", sample.task)]
        if goal := goal_of(sample.sample.event):
            groups.append(("goal", goal))
        near = [
            other
            for group in groups
            for other in kept.get(group, ())
            if distance(hashes[sample.id], hashes[other]) <= nearest
        ]
        if near:
            copies[sample.id] = near[0]
            continue
        for group in groups:
            kept.setdefault(group, []).append(sample.id)
    return copies
