"""Colour names: the thing that a goal names by colour, and the pixels that have that colour.

The simulated world paints with these colours and the critics look for them, so both agree on what "red" is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
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
_NAMES = re.compile(rf"\b({'|'.join([*_BY_NAME, *_SYNONYMS])})\b", re.IGNORECASE)


_ELSEWHERE = (
    r"next to|close to|in front of|(?:to|on|at|from) (?:the|its) (?:left|right)(?: side)?(?: of)?|out of|off|"
    r"from|past|around|over|under|above|below|behind|beside|between|through|along|across|near|by|at|with|"
    r"without|away"
)
"""Prepositions before a place that the thing comes from, passes, or ends beside."""
_TO = r"in|into|inside|on|onto|upon|to|toward|towards"
"""Prepositions before the place where the thing belongs."""
_LEADING = re.compile(rf"\b({_ELSEWHERE}|{_TO})\b", re.IGNORECASE)
_STEP = r"(?:[,.;:!?]|\b(?:and|then|while|until)\b)"
_VERBS = (
    r"bring|carry|carrie|deliver|deposit|drag|drop|get|grab|grasp|hand|insert|lay|lift|move|pick|place|position|"
    r"pull|push|put|raise|relocate|roll|set|shift|slide|stack|take|throw|transfer"
)
"""What is done to a thing that is to be moved; *carrie* is of *carries*."""
_KINDS = (
    r"big|large|small|little|tiny|tall|short|long|round|square|flat|empty|full|bright|soft|"
    r"plastic|wooden|metal|rubber|foam|paper|ceramic|toy"
)
"""Words that may stand beside a colour, and leave no doubt which noun it belongs to."""
_DOER = r"(?:(?:the|a|an)\s+)?(?:(?!not\b|never\b|no\b|nothing\b)[\w-]+\s+){1,3}?"
_ACTION = rf"(?:please\s+)?(?:\w+ly\s+)?(?:(?:{_VERBS})|{_DOER}(?:\w+ly\s+)?(?:{_VERBS})e?s)\s+(?:up\s+)?"
"""*lift*, or *the robot arm picks up*, so that neither a coloured doer nor "does not lift" is taken."""
_NAME = (
    rf"(?:(?:the|a|an|this|that|its)\s+)?(?:(?:{_KINDS})\s+)*(?P<colour>{_NAMES.pattern})"
    rf"(?:\s+(?:{_KINDS}))*(?:\s+(?!(?:and|then|while|until)\b)[\w-]+)?"
)
"""A colour and one noun; of two nouns ("the green light switch"), it is not clear which has the colour."""
_FURTHER = r"(?:\s+(?:up|down|again|\w+ly))*\s*"
_THING = re.compile(
    rf"\W*(?:{_ACTION})?{_NAME}{_FURTHER}(?:$|{_STEP}.*\b(?:it|them)\b|[.!?]\s*$)", re.IGNORECASE | re.DOTALL
)
"""A phrase about the thing alone; further steps go on about *it* rather than about another thing."""
_TARGET = re.compile(
    rf"\s*(?:(?:the\s+)?(?:top|bottom|middle|center|centre|inside)\s+of\s+)?{_NAME}{_FURTHER}(?:$|{_STEP})",
    re.IGNORECASE,
)
_PLACED = re.compile(r"\b(?:it|them)(?:\s+(?:up|down|back|\w+ly))*\s*$", re.IGNORECASE)
"""Ends with the thing, so that a place follows."""
_WHERE_IT_IS = re.compile(r"in|inside|on|upon", re.IGNORECASE)
"""These may also say of the noun before them where it is, or what it wears."""
_OTHER_STEP = re.compile(rf"{_STEP}(?!.*\b(?:it|them)\b)", re.IGNORECASE | re.DOTALL)
"""A step that goes on about another thing, which has a place of its own."""


@dataclass(frozen=True, slots=True)
class GoalColours:
    """The thing to move and where it belongs, as far as the goal names them by an unambiguous colour."""

    thing: Colour | None
    target: Colour | None


def named_colour(name: str) -> Colour:
    """The colour with that name or synonym. Raises KeyError for an unknown name."""
    lowered = name.lower()
    return _BY_NAME[_SYNONYMS.get(lowered, lowered)]


def colours_in(text: str) -> tuple[Colour, ...]:
    """The colours that a text names, each once, in order of first mention."""
    return tuple(dict.fromkeys(named_colour(name) for name in _NAMES.findall(text)))


def goal_colours(goal: str) -> GoalColours:
    """The colours of thing and target: red and blue in "move the red cube from the table to the blue bowl".

    The thing is what is moved, named before the first preposition; the target is named after the last *in*,
    *on*, *to* and the like that says where to put it. Either is None if it has no colour, if several colours
    are possible, or if its colour is also that of something else: "apple from the green table into the red
    bowl" gives only the target. The rules handle short English sentences without parsing them, so they prefer
    None to a guess: "the red gripper grasps milk", "anything but the red cube", and "the man in the blue
    shirt" name no thing and no target by a colour.
    """
    first, *rest = _LEADING.split(goal)
    led = list(zip(rest[::2], rest[1::2], strict=True))
    ways = [phrase for word, phrase in led if re.fullmatch(_TO, word, re.IGNORECASE)]
    several = any(_OTHER_STEP.search(phrase) for phrase in ways[:-1])
    thing = _only_colour([first], _THING)
    target = None if several else _only_colour(_places(first, led), _TARGET)
    phrases = [first, *(phrase for _, phrase in led)]
    count = Counter(colour.name for phrase in phrases for colour in colours_in(phrase))
    return GoalColours(*(None if one is None or count[one.name] > 1 else one for one in (thing, target)))


def _places(first: str, led: Sequence[tuple[str, str]]) -> list[str]:
    """The phrases that may name where the thing is put for the last time."""
    places: list[str] = []
    before, is_placed = first, True
    for word, phrase in led:
        if _PLACED.search(before):
            places, is_placed = [], True
        if re.fullmatch(_TO, word, re.IGNORECASE) and (is_placed or not _WHERE_IT_IS.fullmatch(word)):
            places.append(phrase)
        before, is_placed = phrase, False
    return places


def _only_colour(phrases: Sequence[str], naming: re.Pattern[str]) -> Colour | None:
    """The colour in the phrases, if there is exactly one and ``naming`` matches its phrase."""
    named = [phrase for phrase in phrases for _ in _NAMES.finditer(phrase)]
    found = naming.match(named[0]) if len(named) == 1 else None
    return named_colour(found["colour"]) if found else None


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
