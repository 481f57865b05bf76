"""A coloured thing in a video: its path, and the critics' measures of that path.

The critics of a run take the path from pixels, and studies of the loop take it from a scene (``from_scene``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.colours import Colour, Mask, colour_mask
from runner.critics.measures import Points
from runner.interfaces import Frames

_LEAST_AREA = 0.0008
"""Fraction of the frame. Fewer pixels of a colour are noise rather than a thing."""
_SEEN_PART = 0.15
"""Fraction of the usual area. If less is visible, the centroid is unreliable."""
_OWN_PART = 0.25
"""Fraction of the largest patch. Smaller patches of the colour belong to something else."""
_LARGEST_AREA = 0.2
"""Fraction of the frame. A colour that covers more is a surface that things stand on."""
_APART = 1.5
"""Widths of the thing. Patches whose centres lie farther apart are two things."""
_NOISE = 0.012
"""Fraction of the frame's diagonal. Accelerations up to this are measurement noise."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Track:
    """The place of a coloured thing in each frame."""

    centroids: Points
    """Shape (T, 2); NaN where the thing is not visible."""
    areas: Numbers
    """Visible pixels, shape (T,)."""
    seen: NDArray[np.bool_]
    """Whether each frame shows it, shape (T,)."""
    spread: Numbers
    """Distance between its patches, in its own widths, shape (T,); 0 if it is in one piece."""
    frame: tuple[int, int]
    """Height and width of a frame in pixels."""

    @property
    def diagonal(self) -> float:
        """Diagonal of a frame in pixels."""
        return math.hypot(*self.frame)

    @property
    def usual_area(self) -> float:
        """Upper quartile of its area, in pixels, over the frames that show it."""
        return float(np.percentile(self.areas[self.seen], 75))

    @property
    def at_start(self) -> slice:
        """The first quarter of the frames, at least two."""
        return slice(0, max(2, len(self.seen) // 4))

    @property
    def is_there_at_start(self) -> bool:
        """Whether the first frame, or half of the first quarter, shows it."""
        seen = self.seen[self.at_start]
        return bool(seen[0] or seen.mean() >= 0.5)

    def unclear(self, colour: str) -> str | None:
        """Why the pixels of the colour, which are there at the start, are not a single thing that can be
        followed; None if they are."""
        seen = self.seen[self.at_start]
        if np.median(self.areas[self.at_start][seen]) > _LARGEST_AREA * math.prod(self.frame):
            return f"too much is {colour} for one thing"
        if np.median(self.spread[self.at_start][seen]) > _APART:
            return f"several {colour} things"
        return None


@dataclass(frozen=True, slots=True)
class Continuity:
    """Violations of a thing's permanence."""

    jumps: float
    """The sum of its accelerations beyond measurement noise, as fractions of the frame's diagonal."""
    missing: float
    """The mean missing fraction of its usual area."""

    @property
    def score(self) -> float:
        return math.exp(-(self.jumps / 2.2 + self.missing / 0.5))


def continuity(thing: Track, centroids: Points) -> Continuity:
    """Continuity of a ``thing`` that some frame shows; ``centroids`` are as a camera at rest would see it."""
    pushes = np.linalg.norm(np.diff(centroids[thing.seen], n=2, axis=0), axis=1) / thing.diagonal
    return Continuity(
        jumps=float(np.maximum(0.0, pushes - _NOISE).sum()),
        missing=float(np.maximum(0.0, 1.0 - thing.areas / thing.usual_area).mean()),
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """How close a thing came to its target."""

    left: float
    """Remaining distance when both were last visible, as a fraction of the initial one."""
    gone: bool
    """Whether one of them is out of sight at the end, and they did not touch before."""

    @property
    def score(self) -> float:
        near = min(1.0, max(0.0, 1.0 - self.left))
        return near / 2.0 if self.gone else near


def arrival(thing: Track, target: Track) -> Arrival | None:
    """The arrival of a thing; None if the two are never visible together at the start."""
    distances = np.linalg.norm(thing.centroids - target.centroids, axis=1)
    both = thing.seen & target.seen
    first = distances[thing.at_start][both[thing.at_start]]
    if not len(first):
        return None
    way = max(float(first[0]), 0.25 * thing.diagonal)
    end = slice(-max(2, len(both) // 4), None)
    last = distances[end][both[end]]
    if len(last):
        return Arrival(left=float(np.median(last[-3:])) / way, gone=False)
    left = float(distances[both][-1])
    touching = math.sqrt(thing.usual_area / math.pi) + math.sqrt(target.usual_area / math.pi)
    return Arrival(left=left / way, gone=left > touching)


def track(frames: Frames, colour: Colour) -> Track:
    """Follow the pixels of a colour: its largest patch in each frame, with patches of similar size."""
    masks = colour_mask(frames, colour)
    areas, spread = np.zeros(len(masks)), np.zeros(len(masks))
    centroids = np.full((len(masks), 2), np.nan)
    for index, mask in enumerate(masks):
        areas[index], centroids[index], spread[index] = _patches(mask)
    seen = in_sight(areas, masks[0].size)
    centroids[~seen] = np.nan
    return Track(centroids, areas, seen, spread, masks[0].shape)


def in_sight(areas: Numbers, frame_pixels: int) -> NDArray[np.bool_]:
    """Mask of the frames that show enough of a thing for it to count as visible, shape (T,)."""
    usual = float(np.percentile(areas, 75))
    return areas >= max(_LEAST_AREA * frame_pixels, _SEEN_PART * usual, 1.0)


def _patches(mask: Mask) -> tuple[float, Points, float]:
    """Area, centroid, and distance between the patches; see ``Track``."""
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    if not len(areas):
        return 0.0, np.full(2, np.nan), 0.0
    own = areas >= _OWN_PART * areas.max()
    weights, places = areas[own], centres[1:][own]
    centroid: Points = (places * weights[:, None]).sum(axis=0) / weights.sum()
    farthest = np.linalg.norm(places - places[weights.argmax()], axis=1).max()
    return float(weights.sum()), centroid, float(farthest / math.sqrt(weights.max()))
