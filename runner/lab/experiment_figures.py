"""The figures of an experiment: generations saved and quality gained, with bootstrap intervals over seeds.

*Generations saved.* Each arm has a curve: the mean over seeds and tasks of the true quality of the loop's
best video after n generations. The target quality is the highest that critics alone reach within the budget.
For each arm, count the generations until its curve first reaches the target, linearly interpolated. Saved is
1 − steered / critics alone: 0.3 is 30% fewer, and identical arms give 0. If the steered arm does not reach
the target, it is charged the whole budget, plus the generations that critics alone need, at their mean rate,
to gain the missing quality. So harm has no lower bound, while help has an upper one.

*Best true quality gain.* The true quality, from 0 to 1, of the loop's best video at the end of the budget:
steered minus critics alone.

Intervals: the percentile bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993) with
10,000 resamples of the seeds. Both arms of a seed are drawn together, because they are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runner.lab.experiment_plan import ArmRun, Result

RESAMPLES = 10_000
_BATCH = 500

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    mean: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one condition, over some of the tasks."""

    generations_saved: Estimate
    """Generations saved, as a fraction of those that critics alone need."""
    best_true_quality_gain: Estimate
    best_generated_gain: Estimate
    """The gain in the best video that the run made, picked or not: the value of better prompts."""
    generations_needed: dict[str, float]
    """Generations needed to reach the target quality, by arm."""
    given_true_quality: float
    best_true_quality: dict[str, float]
    """Mean true quality at the end of the budget, by arm."""
    curves: dict[str, tuple[float, ...]]
    """Mean true quality after each generation, by arm."""
    seeds_steered: int
    """Seeds in which the gate opened before the last task."""
    steers_from_task: float | None
    """The median over those seeds; None if there are none."""


def figures(results: Sequence[Result], tasks: slice) -> Figures:
    """Figures over these tasks of each seed. Raises ValueError if there are none."""
    alone = _curves([result.critics_alone[tasks] for result in results])
    steered = _curves([result.steered[tasks] for result in results])
    generated = _generated([result.steered[tasks] for result in results])
    generated -= _generated([result.critics_alone[tasks] for result in results])
    opened = [result.steers_from_task for result in results if result.steers_from_task is not None]
    gain = steered[:, -1] - alone[:, -1]
    level, needed_alone, needed_steered = generations_needed(alone.mean(axis=0), steered.mean(axis=0))
    return Figures(
        generations_saved=estimate(lambda drawn: _saved(alone[drawn], steered[drawn]), len(results)),
        best_true_quality_gain=estimate(lambda drawn: gain[drawn].mean(axis=1), len(results)),
        best_generated_gain=estimate(lambda drawn: generated[drawn].mean(axis=1), len(results)),
        generations_needed={"critics_alone": float(needed_alone), "steered": float(needed_steered)},
        given_true_quality=float(level),
        best_true_quality={
            "critics_alone": float(alone[:, -1].mean()),
            "steered": float(steered[:, -1].mean()),
        },
        curves={
            "critics_alone": tuple(alone.mean(axis=0).tolist()),
            "steered": tuple(steered.mean(axis=0).tolist()),
        },
        seeds_steered=len(opened),
        steers_from_task=float(np.median(opened)) if opened else None,
    )


def saved_more(results: Sequence[Result], others: Sequence[Result], tasks: slice) -> Estimate:
    """Generations saved, minus those saved in another condition with the same seeds."""
    alone = _curves([result.critics_alone[tasks] for result in results])
    steered, other = (_curves([result.steered[tasks] for result in of]) for of in (results, others))
    return estimate(
        lambda drawn: _saved(alone[drawn], steered[drawn]) - _saved(alone[drawn], other[drawn]), len(results)
    )


def generations_needed(alone: Numbers, steered: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The highest quality that critics alone reach, and the generations that each arm needs for it.

    Shapes (…, B) to (…,).
    """
    budget = alone.shape[-1]
    level = alone.max(axis=-1)
    needed = _first_passage(alone, level)
    # Critics alone that gain nothing have no rate; the steered arm is then charged the budget once more.
    gained = level > alone[..., 0]
    per_quality = np.where(gained, (needed - 1.0) / np.where(gained, level - alone[..., 0], 1.0), 0.0)
    lacking = np.where(gained, (level - steered[..., -1]) * per_quality, budget)
    reached = steered.max(axis=-1) >= level
    needed_steered = np.where(reached, _first_passage(steered, level), budget + lacking)
    return level, needed, np.asarray(needed_steered)


def _first_passage(curves: Numbers, level: Numbers) -> Numbers:
    """When each curve first reaches the level; meaningless for curves that never do."""
    at = np.argmax(curves >= level[..., None], axis=-1)
    reached = np.take_along_axis(curves, at[..., None], axis=-1)[..., 0]
    before = np.take_along_axis(curves, np.maximum(at - 1, 0)[..., None], axis=-1)[..., 0]
    rise = np.where(at > 0, reached - before, 1.0)
    return np.asarray(np.where(at > 0, at + (level - before) / rise, 1.0))


def _saved(alone: Numbers, steered: Numbers) -> Numbers:
    """Fraction saved in each resample; shapes (R, S, B) to (R,)."""
    _, needed_alone, needed_steered = generations_needed(alone.mean(axis=1), steered.mean(axis=1))
    return 1.0 - needed_steered / needed_alone


def estimate(statistic: Callable[[NDArray[np.intp]], Numbers], n_seeds: int) -> Estimate:
    """The mean and its interval; ``statistic`` maps indices of seeds, shape (R, S), to values (R,)."""
    rng = np.random.default_rng(0)
    batches = [statistic(rng.integers(n_seeds, size=(_BATCH, n_seeds))) for _ in range(RESAMPLES // _BATCH)]
    low, high = np.percentile(np.concatenate(batches), [2.5, 97.5])
    everyone = np.arange(n_seeds)[None, :]
    return Estimate(mean=float(statistic(everyone)[0]), ci95=(float(low), float(high)))


def _curves(by_seed: Sequence[Sequence[ArmRun]]) -> Numbers:
    """Mean true quality per seed and generation, shape (S, B)."""
    if not by_seed or not all(by_seed):
        raise ValueError("no tasks to take figures over")
    picked = np.array([[course.picked for course in courses] for courses in by_seed])
    return np.asarray(picked.mean(axis=1))


def _generated(by_seed: Sequence[Sequence[ArmRun]]) -> Numbers:
    """Mean true quality per seed of the best video that was made, shape (S,)."""
    generated = np.array([[course.generated for course in courses] for courses in by_seed])
    return np.asarray(generated.mean(axis=1))
