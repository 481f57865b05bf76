"""Generations saved, quality gained, and their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from runner.lab.experiment_figures import figures, generations_needed, saved_more
from runner.lab.experiment_plan import ArmRun, Result

RISING = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
TWICE_AS_FAST = (0.1, 0.3, 0.5, 0.7, 0.9, 0.9, 0.9, 0.9)


def result(alone: Sequence[float], steered: Sequence[float], *, steers_from: int | None = 0) -> Result:
    """A seed with one task."""
    return Result(
        seed=0,
        condition="clean",
        taste={},
        critics_alone=(ArmRun(picked=tuple(alone), generated=max(alone)),),
        steered=(ArmRun(picked=tuple(steered), generated=max(steered)),),
        steers_from_task=steers_from,
    )


def test_arms_that_do_the_same_save_nothing_at_all() -> None:
    rng = np.random.default_rng(1)
    curves = [rng.random(8).tolist() for _ in range(5)]
    these = figures([result(curve, curve) for curve in curves], slice(None))
    assert (these.generations_saved.mean, these.generations_saved.ci95) == (0.0, (0.0, 0.0))
    assert (these.best_true_quality_gain.mean, these.best_true_quality_gain.ci95) == (0.0, (0.0, 0.0))


def test_the_given_quality_is_the_highest_that_critics_alone_reach() -> None:
    level, alone, steered = generations_needed(np.array(RISING), np.array(TWICE_AS_FAST))
    assert level == 0.8
    assert alone == pytest.approx(8.0)
    assert steered == pytest.approx(4.5)


def test_saved_is_the_share_of_the_generations_that_critics_alone_need() -> None:
    these = figures([result(RISING, TWICE_AS_FAST)] * 3, slice(None))
    assert these.generations_saved.mean == pytest.approx(1 - 4.5 / 8)
    assert these.best_true_quality_gain.mean == pytest.approx(0.1)


def test_an_arm_that_is_slower_costs_generations() -> None:
    slower = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9)
    these = figures([result(TWICE_AS_FAST, slower)] * 3, slice(None))
    assert these.generations_saved.mean == pytest.approx(1 - 8 / 5)


def test_an_arm_that_never_gets_there_is_charged_the_budget_and_what_it_lacks() -> None:
    """Critics alone gain 0.8 in four generations after the first; 0.1 is lacking, half a generation."""
    these = figures([result(TWICE_AS_FAST, RISING)] * 3, slice(None))
    assert these.generations_needed["steered"] == pytest.approx(8.5)
    assert these.generations_saved.mean == pytest.approx(1 - 8.5 / 5)
    assert these.best_true_quality_gain.mean == pytest.approx(-0.1)


def test_harm_is_not_hidden_where_quality_falls_from_the_first_generation_on() -> None:
    falling = (0.1, 0.08, 0.06, 0.04, 0.02, 0.0, 0.0, 0.0)
    assert figures([result(RISING, falling)] * 3, slice(None)).generations_saved.mean <= -1.0


def test_where_critics_alone_gain_nothing_one_generation_is_needed() -> None:
    _, alone, steered = generations_needed(np.array([0.5, 0.4, 0.3]), np.array([0.5, 0.6, 0.7]))
    assert [float(alone), float(steered)] == [1.0, 1.0]
    _, alone, steered = generations_needed(np.array([0.5, 0.4, 0.3]), np.array([0.4, 0.4, 0.4]))
    assert [float(alone), float(steered)] == [1.0, 6.0]


def test_curves_are_means_over_seeds_so_one_odd_seed_does_not_decide() -> None:
    flat = result((0.5,) * 8, (0.5,) * 8)
    these = figures([result(RISING, TWICE_AS_FAST)] * 9 + [flat], slice(None))
    assert these.curves["critics_alone"] == pytest.approx(tuple(0.9 * q + 0.05 for q in RISING))
    assert these.generations_saved.mean == pytest.approx(1 - 4.5 / 8)


def test_only_the_given_tasks_count() -> None:
    first, second = result(RISING, RISING), result(RISING, TWICE_AS_FAST)
    both = Result(
        seed=0,
        condition="clean",
        taste={},
        critics_alone=first.critics_alone + second.critics_alone,
        steered=first.steered + second.steered,
        steers_from_task=1,
    )
    assert figures([both, both], slice(1)).best_true_quality_gain.mean == 0.0
    assert figures([both, both], slice(1, None)).best_true_quality_gain.mean == pytest.approx(0.1)


def test_the_interval_is_that_of_the_mean_over_seeds() -> None:
    """Of 200 normal gains: as wide as theory says."""
    gains = np.random.default_rng(3).normal(0.02, 0.05, size=200)
    these = figures([result((0.5, 0.5), (0.5, 0.5 + gain)) for gain in gains], slice(None))
    low, high = these.best_true_quality_gain.ci95
    assert these.best_true_quality_gain.mean == pytest.approx(gains.mean())
    assert high - low == pytest.approx(2 * 1.96 * gains.std() / np.sqrt(200), rel=0.05)


def test_differences_between_seeds_do_not_widen_the_interval_since_arms_are_paired() -> None:
    starts = np.random.default_rng(4).random(20) * 0.8
    these = figures([result((q, q), (q, q + 0.1)) for q in starts], slice(None))
    assert these.best_true_quality_gain.ci95 == pytest.approx((0.1, 0.1))


def test_it_is_told_in_how_many_seeds_and_from_when_the_model_steered() -> None:
    these = figures([result(RISING, RISING, steers_from=task) for task in (30, 50, None)], slice(None))
    assert (these.seeds_steered, these.steers_from_task) == (2, 40.0)


def test_no_tasks_give_no_figures() -> None:
    with pytest.raises(ValueError, match="no tasks"):
        figures([result(RISING, RISING)], slice(1, None))


def test_what_one_condition_saves_more_than_another_is_paired_by_seed() -> None:
    fast = [result(RISING, TWICE_AS_FAST)] * 4
    slow = [result(RISING, RISING)] * 4
    saved = figures(fast, slice(None)).generations_saved.mean
    assert saved_more(fast, slow, slice(None)).mean == pytest.approx(saved)
    assert saved_more(slow, fast, slice(None)).ci95 == pytest.approx((-saved, -saved))
    assert saved_more(fast, fast, slice(None)).ci95 == (0.0, 0.0)
