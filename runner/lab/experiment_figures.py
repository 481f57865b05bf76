"""The figures of an experiment: generations saved and quality gained, with bootstrap intervals over seeds.

*Generations saved.* Each arm has a curve: the mean over seeds and tasks of the true quality of the loop's
best video after n generations. The given true quality is the highest that critics alone reach within the
budget. Each arm needs the generations after which its curve first reaches it, linearly interpolated; saved is
1 − steered / critics alone. So 0.3 is 30% fewer, and arms that do the same give 0. Where steering does not
reach it, it is charged the whole budget, and for the quality that it lacks in the end what critics alone need
for as much, at their mean rate: harm has no lower bound as help has an upper one.

*Best true quality gain.* The true quality, from 0 to 1, of the loop's best video at the end of the budget:
steered minus critics alone.

Intervals: the percentile bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993) with
10,000 resamples of the seeds; both arms of a seed are drawn together, since they are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runner.lab.experiment_plan import Course, Result

RESAMPLES = 10_000
_BATCH = 500

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    mean: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one condition, over some of the tasks."""

    generations_saved: Estimate
    """A fraction of those that critics alone need."""
    best_true_quality_gain: Estimate
    best_generated_gain: Estimate
    """The same of the best video that the run has made, picked or not: what better prompts are worth."""
    generations_needed: dict[str, float]
    """By arm, for the given true quality."""
    given_true_quality: float
    best_true_quality: dict[str, float]
    """By arm: the mean at the end of the budget."""
    curves: dict[str, tuple[float, ...]]
    """By arm: the mean true quality after each generation."""
    seeds_steered: int
    """Seeds in which the gate opened before the last of all tasks."""
    steers_from_task: float | None
    """The median over those seeds; None where there is none."""


def figures(results: Sequence[Result], tasks: slice) -> Figures:
    """Over these tasks of each seed. Raises ValueError where there are none."""
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
    """Generations saved, minus those of another condition with the same seeds."""
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
    # Critics alone that never gain anything have no rate: then nothing but the budget again is charged.
    gained = level > alone[..., 0]
    per_quality = np.where(gained, (needed - 1.0) / np.where(gained, level - alone[..., 0], 1.0), 0.0)
    lacking = np.where(gained, (level - steered[..., -1]) * per_quality, budget)
    reached = steered.max(axis=-1) >= level
    needed_steered = np.where(reached, _first_passage(steered, level), budget + lacking)
    return level, needed, np.asarray(needed_steered)


def _first_passage(curves: Numbers, level: Numbers) -> Numbers:
    """Of curves that reach it; of others nothing that means anything."""
    at = np.argmax(curves >= level[..., None], axis=-1)
    reached = np.take_along_axis(curves, at[..., None], axis=-1)[..., 0]
    before = np.take_along_axis(curves, np.maximum(at - 1, 0)[..., None], axis=-1)[..., 0]
    rise = np.where(at > 0, reached - before, 1.0)
    return np.asarray(np.where(at > 0, at + (level - before) / rise, 1.0))


def _saved(alone: Numbers, steered: Numbers) -> Numbers:
    """For each resample; shapes (R, S, B) to (R,)."""
    _, needed_alone, needed_steered = generations_needed(alone.mean(axis=1), steered.mean(axis=1))
    return 1.0 - needed_steered / needed_alone


def estimate(statistic: Callable[[NDArray[np.intp]], Numbers], n_seeds: int) -> Estimate:
    """The mean with its interval: ``statistic`` takes indices of seeds, shape (R, S), and gives (R,)."""
    rng = np.random.default_rng(0)
    batches = [statistic(rng.integers(n_seeds, size=(_BATCH, n_seeds))) for _ in range(RESAMPLES // _BATCH)]
    low, high = np.percentile(np.concatenate(batches), [2.5, 97.5])
    everyone = np.arange(n_seeds)[None, :]
    return Estimate(mean=float(statistic(everyone)[0]), ci95=(float(low), float(high)))


def _curves(by_seed: Sequence[Sequence[Course]]) -> Numbers:
    """Mean true quality per seed and generation, shape (S, B)."""
    if not by_seed or not all(by_seed):
        raise ValueError("no tasks to take figures over")
    picked = np.array([[course.picked for course in courses] for courses in by_seed])
    return np.asarray(picked.mean(axis=1))


def _generated(by_seed: Sequence[Sequence[Course]]) -> Numbers:
    """The same of the best video there was, shape (S,)."""
    generated = np.array([[course.generated for course in courses] for courses in by_seed])
    return np.asarray(generated.mean(axis=1))
