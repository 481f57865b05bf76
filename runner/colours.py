"""Named colours: where a text names one, and the pixels that have it.

The simulated world paints with these colours and the critics look for them, so both agree on what "red" is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.interfaces import Frames

Mask = NDArray[np.bool_]
"""True where a pixel has a colour, shape (T, H, W)."""

MIN_SATURATION = 95
"""Saturation of 0 to 255. Below it a pixel is grey, brown or skin rather than a named colour."""
MIN_VALUE = 45
"""HSV value of 0 to 255. Below it a pixel is too dark to have a colour."""
_HUES = 180
"""Number of steps on OpenCV's hue circle."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A named colour: hues within ``spread`` of ``hue`` on OpenCV's circle, 0 to 180."""

    name: str
    rgb: tuple[int, int, int]
    hue: int
    spread: int


COLOURS = (
    Colour("red", (214, 34, 38), 179, 7),
    Colour("orange", (238, 130, 20), 15, 6),
    Colour("yellow", (232, 212, 30), 28, 6),
    Colour("green", (40, 170, 60), 64, 20),
    Colour("cyan", (30, 190, 200), 91, 7),
    Colour("blue", (36, 84, 214), 112, 12),
    Colour("purple", (130, 50, 200), 136, 9),
    Colour("pink", (230, 60, 160), 162, 9),
)
_SYNONYMS = {"teal": "cyan", "turquoise": "cyan", "violet": "purple", "magenta": "pink"}
_BY_NAME = {colour.name: colour for colour in COLOURS}
COLOUR_NAMES = "|".join([*_BY_NAME, *_SYNONYMS])
"""Names and synonyms, as a regular expression in lower case."""
_NAMES = re.compile(rf"\b({COLOUR_NAMES})\b", re.IGNORECASE)


def named_colour(name: str) -> Colour:
    """The colour with that name or synonym. Raises KeyError for an unknown name."""
    lowered = name.lower()
    return _BY_NAME[_SYNONYMS.get(lowered, lowered)]


def colour_mentions(text: str) -> tuple[Colour, ...]:
    """The colour of every mention in a text, in order."""
    return tuple(named_colour(name) for name in _NAMES.findall(text))


def colours_in(text: str) -> tuple[Colour, ...]:
    """The colours that a text names, each once, in order of first mention."""
    return tuple(dict.fromkeys(colour_mentions(text)))


def colour_mask(frames: Frames, colour: Colour) -> Mask:
    """Pixels of RGB frames (T, H, W, 3) that have the colour. Compares hue, so brightness matters little."""
    height, width = frames.shape[1:3]
    # OpenCV takes one image, so the frames are stacked into a tall one.
    hsv = cv2.cvtColor(np.ascontiguousarray(frames).reshape(-1, width, 3), cv2.COLOR_RGB2HSV)
    low, high = colour.hue - colour.spread, colour.hue + colour.spread
    mask = _between(hsv, max(low, 0), min(high, _HUES - 1))
    if low < 0:
        mask |= _between(hsv, low + _HUES, _HUES - 1)
    if high >= _HUES:
        mask |= _between(hsv, 0, high - _HUES)
    return mask.reshape(-1, height, width).view(np.bool_)


def _between(hsv: Frames, low: int, high: int) -> NDArray[np.uint8]:
    mask: NDArray[np.uint8] = cv2.inRange(hsv, (low, MIN_SATURATION, MIN_VALUE), (high, 255, 255))
    return np.asarray(mask & 1, dtype=np.uint8)
