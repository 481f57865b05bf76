"""How many votes a rule needs to match random votes, with intervals over repetitions.

Each rule has a curve: the mean over repetitions of the log loss on held-out pairs, after n votes. Count the
votes until it first reaches the log loss of 100, 200 and 400 random votes, linearly interpolated. Intervals:
the percentile bootstrap with 1,000 resamples of the repetitions. All plans of a repetition are drawn
together, because they are measured on one split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from runner.lab.vote_simulation import LearningCurve

if TYPE_CHECKING:
    from trainers.compiled import Array, Ints

Name = TypeVar("Name")
LEVELS = (100, 200, 400)
"""Numbers of random votes whose log loss the rules should reach."""
CHECKPOINTS = (5, 10, 15, *range(20, 101, 10), *range(120, 201, 20), *range(240, 401, 40))
"""Numbers of votes after which log loss is measured."""
_RESAMPLES = 1_000
_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class VotesNeeded:
    """Votes needed for the log loss of ``random`` random votes; null if it was not reached."""

    random: int
    votes: float | None
    ci95: tuple[float, float | None] | None
    """An end is null if too many resamples do not reach it; all is null if that concerns both ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFigures:
    """Figures of one plan; all tuples but ``needed`` follow the order of the checkpoints."""

    log_loss: tuple[float, ...]
    minus_random: tuple[float, ...]
    """Difference in log loss from random votes, paired on the same splits."""
    minus_random_ci95: tuple[tuple[float, float], ...]
    picked: tuple[float, ...]
    """Quality of the picked candidates: the fraction of their pairs that they win."""
    picked_minus_random: tuple[float, ...]
    picked_minus_random_ci95: tuple[tuple[float, float], ...]
    needed: tuple[VotesNeeded, ...]
    worth: tuple[float | None, ...]
    """Random votes with the same log loss; null if no measured number of random votes has it."""
    gate_opened: int
    """Repetitions in which the gate opened, counting only votes that the model did not choose."""
    gate_opened_at: float | None
    """Median number of votes over these repetitions."""


def vote_figures(
    courses: Mapping[Name, Sequence[LearningCurve]], random: Name, checkpoints: Sequence[int]
) -> dict[Name, RuleFigures]:
    """Figures by plan; ``random`` names the baseline plan."""
    n = len(courses[random])
    draws = np.random.default_rng(0).integers(n, size=(_RESAMPLES, n))
    losses, picked = (
        {name: _Curves.of([getattr(one, kind) for one in of], draws) for name, of in courses.items()}
        for kind in ("log_losses", "picked")
    )
    return {
        name: _figures(of, losses[name], losses[random], picked[name], picked[random], checkpoints)
        for name, of in courses.items()
    }


def first_reached(curve: Array, level: float, votes: Sequence[int]) -> float:
    """Votes after which the curve first reaches the level or falls below it; infinite if it never does."""
    at = np.flatnonzero(curve <= level)
    if not len(at):
        return np.inf
    i = int(at[0])
    if i == 0:
        return float(votes[0])
    share = (curve[i - 1] - level) / (curve[i - 1] - curve[i])
    return float(votes[i - 1] + share * (votes[i] - votes[i - 1]))


@dataclass(frozen=True, slots=True)
class _Curves:
    """Curves of one plan, over C checkpoints."""

    mean: Array
    """Mean over repetitions, shape (C,)."""
    drawn: Array
    """Means over resampled repetitions, shape (resamples, C)."""

    @classmethod
    def of(cls, curves: Sequence[Sequence[float | None]], draws: Ints) -> _Curves:
        values = np.array(curves, dtype=np.float64)
        return cls(values.mean(axis=0), _means(values, draws))

    def minus(self, other: _Curves) -> tuple[tuple[float, ...], tuple[tuple[float, float], ...]]:
        """The difference of the means, with intervals."""
        low, high = np.percentile(self.drawn - other.drawn, [2.5, 97.5], axis=0)
        return tuple((self.mean - other.mean).tolist()), tuple(zip(low.tolist(), high.tolist(), strict=True))


def _figures(
    of: Sequence[LearningCurve],
    losses: _Curves,
    random: _Curves,
    picked: _Curves,
    random_picked: _Curves,
    checkpoints: Sequence[int],
) -> RuleFigures:
    minus_random, minus_random_ci95 = losses.minus(random)
    more, more_ci95 = picked.minus(random_picked)
    opened = [course.gate_opened_at for course in of if course.gate_opened_at is not None]
    return RuleFigures(
        log_loss=tuple(losses.mean.tolist()),
        minus_random=minus_random,
        minus_random_ci95=minus_random_ci95,
        picked=tuple(picked.mean.tolist()),
        picked_minus_random=more,
        picked_minus_random_ci95=more_ci95,
        needed=tuple(
            _needed(level, losses.mean, random.mean, losses.drawn, random.drawn, checkpoints)
            for level in LEVELS
            if level in checkpoints
        ),
        worth=tuple(
            _finite(first_reached(random.mean, level, checkpoints)) for level in losses.mean.tolist()
        ),
        gate_opened=len(opened),
        gate_opened_at=float(np.median(opened)) if opened else None,
    )


def _needed(
    level: int,
    mean: Array,
    mean_random: Array,
    drawn: Array,
    drawn_random: Array,
    checkpoints: Sequence[int],
) -> VotesNeeded:
    at = list(checkpoints).index(level)
    of_draws = np.array(
        [first_reached(curve, one[at], checkpoints) for curve, one in zip(drawn, drawn_random, strict=True)]
    )
    low, high = (float(x) for x in np.percentile(of_draws, [2.5, 97.5], method="nearest"))
    return VotesNeeded(
        random=level,
        votes=_finite(first_reached(mean, mean_random[at], checkpoints)),
        ci95=(low, _finite(high)) if np.isfinite(low) else None,
    )


def _means(losses: Array, draws: Ints) -> Array:
    """Means (resamples, checkpoints) of losses (repetitions, checkpoints)."""
    parts = [losses[draws[start : start + _BATCH]].mean(axis=1) for start in range(0, len(draws), _BATCH)]
    return np.concatenate(parts)


def _finite(votes: float) -> float | None:
    return votes if np.isfinite(votes) else None
