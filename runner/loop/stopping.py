"""When a run ends: pure rules over the loop's counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streams.errors import BadInput
from streams.messages.contracts import TraceEvent

MAX_FAILURES = "max_failures"
"""The rule, and the stop reason, of a run that is given up."""
_IN_WORDS = {
    "max_iters": "all iterations made",
    "patience": "no better for a while",
    "target_score": "good enough",
    "drift": "only the critics were being pleased",
    "max_wall_s": "out of time",
    MAX_FAILURES: "too many failures in a row",
}


def stop_in_words(stop_reason: str) -> str:
    """Why a run ended, for a line or a cell; a reason that is no rule's is its own text."""
    return _IN_WORDS.get(stop_reason, stop_reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRules:
    """When a run ends: as soon as one rule is met. A rule that is None is off.

    Raises BadInput for values that no run could meet.
    """

    max_iters: int = 8
    """Iterations, failed ones included."""
    target_score: float | None = None
    """Critics' reward of the best, in [0, 1], if the critics gave it all of it."""
    patience: int | None = None
    """Iterations in a row whose candidate did not beat the best by ``min_delta``. A failed one counts; a
    smaller gain makes a new best but still counts."""
    min_delta: float = 0.0
    """The least gain of combined reward that ends a plateau."""
    drift_threshold: float | None = None
    """A candidate drifts if its critics' reward exceeds the best's while the score of a failure mode falls by
    more than this: the loop pleases the critics rather than improving the video."""
    drift_patience: int = 2
    """Judged candidates in a row that drift."""
    max_wall_s: float | None = None
    """Seconds, checked after every iteration."""
    max_failures: int | None = None
    """Candidates in a row that could not be made or judged, or on which one critic failed. A broken part
    stays broken, and each try may load a model."""
    went_on_until: int = 0
    """Iterations from the start in which ``max_failures`` does not count, as a resumed run is known to have
    gone on after them."""

    def __post_init__(self) -> None:
        for name in ("max_iters", "patience", "drift_patience", MAX_FAILURES):
            _require(name, getattr(self, name), at_least=1)
        for name in ("min_delta", "drift_threshold", "max_wall_s"):
            _require(name, getattr(self, name), at_least=0)
        _require("target_score", self.target_score, at_least=0, at_most=1)

    def progresses(self, gain: float | None) -> bool:
        """Whether a candidate ends a plateau; ``gain`` is None for the first, which starts the run."""
        return gain is None or (gain > 0.0 and gain >= self.min_delta)

    def drifts(self, candidate: TraceEvent, best: TraceEvent | None, rise: float) -> bool:
        """Whether the ``candidate`` pleases the critics only: their reward exceeds that of the ``best`` by
        ``rise``, at the cost of a failure mode that both have a score for."""
        if self.drift_threshold is None or best is None or rise <= 0.0:
            return False
        falls = (
            _fall(before, candidate.fused_scores.get(mode)) for mode, before in best.fused_scores.items()
        )
        return any(fall > self.drift_threshold for fall in falls)

    def reason(
        self,
        *,
        iterations: int,
        best_score: float | None,
        plateau_steps: int,
        drift_steps: int,
        elapsed_s: float,
        failures: int,
    ) -> str:
        """The name of the first rule that ends the run now, or an empty string.

        ``iterations`` were made in ``elapsed_s`` seconds, ``best_score`` is the critics' reward of the best.
        ``plateau_steps``, ``drift_steps`` and ``failures`` are those in a row until now.
        """
        if self.target_score is not None and best_score is not None and best_score >= self.target_score:
            return "target_score"
        most = self.max_failures if iterations > self.went_on_until else None
        if most is not None and failures >= most:
            return MAX_FAILURES
        if drift_steps >= self.drift_patience:
            return "drift"
        if self.patience is not None and plateau_steps >= self.patience:
            return "patience"
        if self.max_wall_s is not None and elapsed_s >= self.max_wall_s:
            return "max_wall_s"
        return "max_iters" if iterations >= self.max_iters else ""


def _fall(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else before - after


def _require(name: str, value: float | None, *, at_least: float, at_most: float = math.inf) -> None:
    if value is not None and not (at_least <= value <= at_most and math.isfinite(value)):
        expected = f"at least {at_least}" if math.isinf(at_most) else f"between {at_least} and {at_most}"
        raise BadInput(f"stop rule {name} is {value}; expected a finite number, {expected}")
