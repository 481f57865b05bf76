"""Twenty checkpoints in a line: those that are no better are hardly ever promoted, a better one mostly is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from runner.finetune.comparison import MOST_LEFT_OUT, Comparison, PairResult
from runner.finetune.evidence import ALPHA
from runner.finetune.verdict import CheckpointVerdict, judge

LINES, COMPARISONS, TASKS = 400, 20, 40
Results = NDArray[np.float64]
"""Of the tasks of one comparison, shape (T,), within 0 and 1."""
Null = Callable[[np.random.Generator], Results]
"""Draws the results of a checkpoint of which the mean chance of winning a task is one half or less."""


def coins(rng: np.random.Generator) -> Results:
    return rng.integers(0, 2, TASKS).astype(float)


def two_seeds(rng: np.random.Generator) -> Results:
    return rng.binomial(2, 0.5, TASKS) / 2


def mostly_ties(rng: np.random.Generator) -> Results:
    return rng.choice([0.0, 0.5, 1.0], TASKS, p=[0.1, 0.8, 0.1])


def rare_large_losses(rng: np.random.Generator) -> Results:
    """Nine tasks of ten are a little better, and one is lost."""
    return np.where(rng.random(TASKS) < 0.1, 0.0, 0.5 / 0.9)


def rare_large_wins(rng: np.random.Generator) -> Results:
    return np.where(rng.random(TASKS) < 0.1, 1.0, 0.4 / 0.9)


def tasks_that_differ(rng: np.random.Generator) -> Results:
    """Each checkpoint is far better at some tasks and far worse at others."""
    chances = rng.permutation(np.tile([0.98, 0.02, 0.8, 0.2, 0.5], TASKS // 5))
    return (rng.random(TASKS) < chances).astype(float)


def tasks_drawn_at_random(rng: np.random.Generator) -> Results:
    """How good a checkpoint is at a task is drawn with the task; two seeds of each."""
    return rng.binomial(2, rng.beta(0.3, 0.3, TASKS)) / 2


NULLS = (
    coins,
    two_seeds,
    mostly_ties,
    rare_large_losses,
    rare_large_wins,
    tasks_that_differ,
    tasks_drawn_at_random,
)


def verdict(selector: Results, other: Results, without_promotion: int) -> CheckpointVerdict:
    """By a reward and by the critics' mean."""
    pairs = [
        PairResult(str(n), n, by_critics=b, by_count=0.5, by_reward=a)
        for n, (a, b) in enumerate(zip(selector.tolist(), other.tolist(), strict=True))
    ]
    return judge(1, Comparison(tuple(pairs)), without_promotion)


WINS = np.ones(TASKS)


@pytest.mark.parametrize("null", NULLS)
def test_of_twenty_checkpoints_that_are_no_better_at_most_one_line_in_twenty_promotes_any(null: Null) -> None:
    rng = np.random.default_rng(5)
    lines = [
        any(verdict(null(rng), WINS, before).promote for before in range(COMPARISONS)) for _ in range(LINES)
    ]
    assert np.mean(lines) <= ALPHA


def test_the_error_holds_for_checkpoints_that_fail_where_they_would_lose() -> None:
    """Each would win two tasks of five, and leaves out as many of the others as it may."""
    rng = np.random.default_rng(10)
    compared = int((1 - MOST_LEFT_OUT) * TASKS)
    lines = [
        any(verdict(coins(rng)[:compared], WINS[:compared], before).promote for before in range(COMPARISONS))
        for _ in range(LINES)
    ]
    assert np.mean(lines) <= ALPHA


def test_the_error_holds_for_checkpoints_that_lose_clearly_by_the_other_judge() -> None:
    rng = np.random.default_rng(6)
    lines = [
        any(
            verdict(WINS, (rng.random(TASKS) < 1 / 3).astype(float), before).promote
            for before in range(COMPARISONS)
        )
        for _ in range(LINES)
    ]
    assert np.mean(lines) <= ALPHA


def test_the_error_holds_for_those_that_are_no_better_where_every_third_one_is() -> None:
    rng = np.random.default_rng(7)
    false, true = 0, 0
    for _ in range(LINES):
        without_promotion = 0
        wrong = False
        for number in range(COMPARISONS):
            better = number % 3 == 2
            promote = verdict(WINS if better else coins(rng), WINS, without_promotion).promote
            without_promotion += not promote
            true += promote and better
            wrong |= promote and not better
        false += wrong
    assert true == LINES * 6
    assert false / LINES <= ALPHA


@pytest.mark.parametrize(
    ("seeds", "before", "power"), [(1, 0, 0.5), (2, 0, 0.85), (2, 9, 0.65), (3, 9, 0.85), (3, 19, 0.8)]
)
def test_a_checkpoint_that_wins_three_videos_of_four_is_promoted_most_of_the_time(
    seeds: int, before: int, power: float
) -> None:
    rng = np.random.default_rng(8)
    promoted = [verdict(rng.binomial(seeds, 0.75, TASKS) / seeds, WINS, before).promote for _ in range(LINES)]
    assert np.mean(promoted) >= power


def test_both_judges_may_see_the_same_gain_and_it_costs_little() -> None:
    rng = np.random.default_rng(9)
    promoted = []
    for _ in range(LINES):
        by_both = rng.binomial(2, 0.75, TASKS) / 2, rng.binomial(2, 0.7, TASKS) / 2
        promoted.append(verdict(*by_both, 0).promote)
    assert np.mean(promoted) >= 0.85
