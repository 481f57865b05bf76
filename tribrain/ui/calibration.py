"""The calibration of a model's stated probabilities: a curve for the Model page, and a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.errors import counted
from trainers.evidence.shares import Share

WIDTH, HEIGHT = 330, 236
LEFT, RIGHT, TOP, BOTTOM = 44, 308, 10, 192
"""Edges of the plot within the picture, in pixels."""
_FEW = 20
"""Fewest pairs for a statement about over- or underconfidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """Pairs of similar stated probability; coordinates are pixels of the picture."""

    stated: float
    came_true: float
    low: float
    high: float
    """Bounds of Wilson's 95% interval, which assumes independent pairs."""
    n: int
    x: float
    y: float
    y_low: float
    y_high: float

    @property
    def words(self) -> str:
        return (
            f"stated {_percent(self.stated)}, came true {_percent(self.came_true)} "
            f"({_percent(self.low)} to {_percent(self.high)}) of {self.n:,}"
        )


def points(trusted: Mapping[str, Any] | None) -> list[CalibrationPoint]:
    """The points of a snapshot's figures on people and validators; none if an older trainer published it."""
    bins = trusted.get("calibration") if trusted else None
    return [_point(each) for each in bins if _is_bin(each)] if isinstance(bins, list) else []


def x_of(stated: float) -> float:
    """The x of a stated probability, from 0.5 (a coin toss) on the left to certainty on the right."""
    return round(LEFT + (2 * stated - 1) * (RIGHT - LEFT), 1)


def y_of(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 1)


def in_words(found: list[CalibrationPoint]) -> str:
    """A text on where the model is overconfident or underconfident, if anywhere."""
    if (n := sum(each.n for each in found)) < _FEW:
        return f"This is from {counted(n, 'pair')}, too few to say more."
    too_sure = [_percent(each.stated) for each in found if each.high < each.stated]
    too_careful = [_percent(each.stated) for each in found if each.low > each.stated]
    surest = found[-1]
    text = f"Where it was most certain ({_percent(surest.stated)} on average), it was right in "
    text += f"{_percent(surest.came_true)} of {counted(surest.n, 'pair')}. "
    if too_sure:
        text += f"It is overconfident where it states {_listed(too_sure)}. "
    if too_careful:
        text += f"It is underconfident where it states {_listed(too_careful)}. "
    if not too_sure and not too_careful:
        text += "All stated probabilities lie within the 95% intervals of what was observed. "
    return text.strip()


def _point(given: Mapping[str, Any]) -> CalibrationPoint:
    share = Share(k=given["right"], n=given["n"])
    low, high = share.ci95 or (0.0, 1.0)
    came_true = share.value or 0.0
    return CalibrationPoint(
        stated=given["stated"],
        came_true=came_true,
        low=low,
        high=high,
        n=given["n"],
        x=x_of(given["stated"]),
        y=y_of(came_true),
        y_low=y_of(low),
        y_high=y_of(high),
    )


def _is_bin(given: Any) -> bool:
    """Whether this is a valid bin: anyone who may write to the topic may have written anything."""
    if not isinstance(given, Mapping):
        return False
    n, stated, right = (given.get(name) for name in ("n", "stated", "right"))
    if not isinstance(n, int) or not all(isinstance(x, int | float) for x in (stated, right)):
        return False
    return n > 0 and math.isfinite(stated) and 0.5 <= stated <= 1.0 and 0.0 <= right <= n  # type: ignore[arg-type,operator]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _listed(parts: list[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last
