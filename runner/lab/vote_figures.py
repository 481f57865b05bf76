"""How many votes a rule needs for what random ones teach, with intervals over repetitions.

Each rule has a curve: the mean over repetitions of the log loss on pairs kept apart, after n votes. It needs
the votes after which its curve first reaches what the curve of random votes has after 100, 200 and 400,
linearly interpolated. Intervals: the percentile bootstrap with 1,000 resamples of the repetitions; all plans
of a repetition are drawn together, since they are measured on one split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from runner.lab.vote_simulation import Course

if TYPE_CHECKING:
    from trainers.compiled import Array, Ints

Name = TypeVar("Name")
LEVELS = (100, 200, 400)
"""Random votes whose log loss is to be reached."""
CHECKPOINTS = (5, 10, 15, *range(20, 101, 10), *range(120, 201, 20), *range(240, 401, 40))
"""Votes after which log loss is measured."""
_RESAMPLES = 1_000
_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Votes for the log loss of ``random`` random ones; null where that was not reached."""

    random: int
    votes: float | None
    ci95: tuple[float, float | None] | None
    """Null where so many of the resamples do not reach it: at the upper end, or at both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFigures:
    """Of one plan; all tuples but ``needed`` are in the order of the checkpoints."""

    log_loss: tuple[float, ...]
    minus_random: tuple[float, ...]
    """Paired: on the same splits."""
    minus_random_ci95: tuple[tuple[float, float], ...]
    needed: tuple[Needed, ...]
    worth: tuple[float | None, ...]
    """Random votes of the same log loss; null where no number that was measured has it."""
    gate_opened: int
    """Repetitions in which the gate opened by the votes that were not chosen by the model."""
    gate_opened_at: float | None
    """Votes, the median over these."""


def vote_figures(
    courses: Mapping[Name, Sequence[Course]], random: Name, checkpoints: Sequence[int]
) -> dict[Name, RuleFigures]:
    """By plan; ``random`` names the one that the others are compared with."""
    n = len(courses[random])
    draws = np.random.default_rng(0).integers(n, size=(_RESAMPLES, n))
    losses = {
        name: np.array([one.log_losses for one in of], dtype=np.float64) for name, of in courses.items()
    }
    resampled = {name: _means(of, draws) for name, of in losses.items()}
    return {
        name: _figures(of, losses[name], losses[random], resampled[name], resampled[random], checkpoints)
        for name, of in courses.items()
    }


def first_reached(curve: Array, level: float, votes: Sequence[int]) -> float:
    """Votes after which the curve is first at the level or below; infinite where it never is."""
    at = np.flatnonzero(curve <= level)
    if not len(at):
        return np.inf
    i = int(at[0])
    if i == 0:
        return float(votes[0])
    share = (curve[i - 1] - level) / (curve[i - 1] - curve[i])
    return float(votes[i - 1] + share * (votes[i] - votes[i - 1]))


def _figures(
    of: Sequence[Course],
    losses: Array,
    random: Array,
    drawn: Array,
    drawn_random: Array,
    checkpoints: Sequence[int],
) -> RuleFigures:
    mean, mean_random = losses.mean(axis=0), random.mean(axis=0)
    low, high = np.percentile(drawn - drawn_random, [2.5, 97.5], axis=0)
    opened = [course.gate_opened_at for course in of if course.gate_opened_at is not None]
    return RuleFigures(
        log_loss=tuple(mean.tolist()),
        minus_random=tuple((mean - mean_random).tolist()),
        minus_random_ci95=tuple(zip(low.tolist(), high.tolist(), strict=True)),
        needed=tuple(
            _needed(level, mean, mean_random, drawn, drawn_random, checkpoints)
            for level in LEVELS
            if level in checkpoints
        ),
        worth=tuple(_finite(first_reached(mean_random, level, checkpoints)) for level in mean.tolist()),
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
) -> Needed:
    at = list(checkpoints).index(level)
    of_draws = np.array(
        [first_reached(curve, one[at], checkpoints) for curve, one in zip(drawn, drawn_random, strict=True)]
    )
    low, high = (float(x) for x in np.percentile(of_draws, [2.5, 97.5], method="nearest"))
    return Needed(
        random=level,
        votes=_finite(first_reached(mean, mean_random[at], checkpoints)),
        ci95=(low, _finite(high)) if np.isfinite(low) else None,
    )


def _means(losses: Array, draws: Ints) -> Array:
    """(resamples, checkpoints) of losses (repetitions, checkpoints)."""
    parts = [losses[draws[start : start + _BATCH]].mean(axis=1) for start in range(0, len(draws), _BATCH)]
    return np.concatenate(parts)


def _finite(votes: float) -> float | None:
    return votes if np.isfinite(votes) else None
