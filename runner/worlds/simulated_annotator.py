"""Simulated people who vote on the simulated world's videos: they know the truth but sometimes err."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from streams.errors import BadInput

INDISTINCT = 0.02
"""If two true qualities differ by less, the correct answer is a tie."""
_Said = Literal["left", "right", "tie"]
_LEAST_ERRORS, _MOST_ERRORS = 0.05, 0.35


@dataclass(frozen=True, slots=True)
class SimulatedAnnotator:
    """Answers by the true quality, except for a fraction of errors."""

    name: str
    error_rate: float
    """Fraction of votes that give the opposite answer; for equal videos, that prefer one."""

    def answer(self, left: float, right: float, rng: Random) -> tuple[_Said, bool]:
        """The answer for two videos of these true qualities, and whether it is an error."""
        if rng.random() >= self.error_rate:
            return _truth(left, right), False
        return _opposite(_truth(left, right), rng), True


def simulated_annotators(n: int) -> Sequence[SimulatedAnnotator]:
    """``n`` annotators, error rates rising evenly from 5% to 35%. Raises BadInput if ``n`` is negative."""
    if n < 0:
        raise BadInput(f"the number of annotators is {n}; expected 0 or more")
    step = (_MOST_ERRORS - _LEAST_ERRORS) / max(1, n - 1)
    return [SimulatedAnnotator(f"simulated-{i + 1}", _LEAST_ERRORS + i * step) for i in range(n)]


def _opposite(truth: _Said, rng: Random) -> _Said:
    if truth == "tie":
        return rng.choice(("left", "right"))
    return "left" if truth == "right" else "right"


def _truth(left: float, right: float) -> _Said:
    if abs(left - right) < INDISTINCT:
        return "tie"
    return "left" if left > right else "right"
