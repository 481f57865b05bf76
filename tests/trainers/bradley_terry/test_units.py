"""In which unit a critic's differences are learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from trainers.bradley_terry.estimators import LEARNERS, LearnerName, PairEstimator, Recipe
from trainers.bradley_terry.laplace import Laplace
from trainers.bradley_terry.units import FIRST, UNIT, change_unit, within_reach
from trainers.compiled import Array

WEIGHTS = np.array([6.0, 2.0])
"""Of two critics' scores in [0, 1]."""
N = 200
SCALES = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 10.0, 100.0, 1e6]

every_learner = pytest.mark.parametrize("learner", LEARNERS)


def sides(n: int, seed: int) -> tuple[Array, Array]:
    """Scores of chosen and rejected (n, 2) in [0, 1]."""
    rng = np.random.default_rng(seed)
    a, b = rng.random((n, 2)), rng.random((n, 2))
    is_better = (a - b) @ WEIGHTS + rng.normal(size=n) > 0
    return np.where(is_better[:, None], a, b), np.where(is_better[:, None], b, a)


def of(differences: Sequence[float], learner: LearnerName = "laplace") -> PairEstimator:
    model = Recipe(learner=learner).new().with_features("a")
    model.learn_many_differences(np.array(differences)[:, None], np.ones(len(differences)))
    return model


def accuracy(learner: LearnerName, X: Array, H: Array) -> float:
    model = Recipe(learner=learner).new().with_features("ab")
    model.learn_many_differences(X, np.ones(len(X)))
    return float(np.mean(model.predict_many_differences("ab", H) > 0.5))


@pytest.mark.parametrize("scale", SCALES)
@every_learner
def test_no_single_value_costs_more_than_a_hundredth_whatever_the_critics_scale(
    learner: LearnerName, scale: float
) -> None:
    chosen, rejected = (scale * side for side in sides(N, seed=0))
    unseen, worse = (scale * side for side in sides(4000, seed=99))
    H = unseen - worse
    clean = accuracy(learner, chosen - rejected, H)
    for at in (0, 10, 19, 100, 199):
        for value in (1.0, -0.5, 50.0, -7e5, 1.5 * scale, -2.0 * scale, 10.0 * scale):
            for side in (chosen, rejected):
                kept, side[at, 0] = side[at, 0], value
                assert accuracy(learner, chosen - rejected, H) >= clean - 0.0101, (at, value)
                side[at, 0] = kept


@pytest.mark.parametrize("scale", SCALES)
def test_a_critic_is_learnt_as_well_on_any_scale(scale: float) -> None:
    chosen, rejected = (scale * side for side in sides(N, seed=1))
    unseen, worse = (scale * side for side in sides(4000, seed=99))
    model = Laplace().with_features("ab")
    model.learn_many_differences(chosen - rejected, np.ones(N))
    assert -np.log(model.predict_many_differences("ab", unseen - worse)).mean() < 0.36


def test_the_unit_of_usual_scores_stays() -> None:
    assert of(np.linspace(0.05, 1.0, FIRST).tolist()).scales == {"a": UNIT}


def test_a_critic_that_says_yes_or_no_keeps_the_usual_unit() -> None:
    assert of([1.0, -1.0, 0.0] * FIRST).scales == {"a": UNIT}


@pytest.mark.parametrize(("sizes", "unit"), [([0.01] * FIRST, 0.01), ([50.0] * FIRST, 25.0)])
def test_other_units_follow_the_first_differences(sizes: list[float], unit: float) -> None:
    assert of(sizes).scales["a"] == pytest.approx(unit, rel=0.13)


def test_no_unit_is_settled_by_fewer_differences() -> None:
    assert of([0.01] * (FIRST - 1)).scales == {"a": UNIT}
    assert of([*[0.0] * 50, *[0.01] * (FIRST - 1)]).scales == {"a": UNIT}


@pytest.mark.parametrize("garbage", [1.0, -300.0, 7e5])
def test_five_numbers_of_garbage_among_the_first_set_no_unit(garbage: float) -> None:
    assert of([*[garbage] * 5, *[0.01] * (FIRST - 5)]).scales["a"] == pytest.approx(0.01, rel=0.13)


@pytest.mark.parametrize("garbage", [1.0, -300.0])
def test_two_numbers_of_garbage_later_set_no_unit(garbage: float) -> None:
    settled = of([0.01] * 20)
    assert of([*[0.01] * 20, garbage, garbage]).scales == settled.scales


def test_a_critic_that_sees_its_first_fault_late_gets_the_usual_unit() -> None:
    assert of([*[0.001] * 30, 0.4, 0.5, 0.6, 0.5]).scales == {"a": UNIT}


def test_what_was_learnt_before_a_unit_was_settled_is_kept_where_it_was_nearly_right() -> None:
    """From a quarter to a fifth: the prediction for the same difference hardly changes."""
    X = np.random.default_rng(0).choice([-0.2, 0.2], 200)
    known = of([0.2] * 15)
    p = known.predict_proba_one({"a": 0.2})[True]
    known.learn_one({"a": -0.2}, False)
    assert known.scales["a"] < UNIT
    assert known.predict_proba_one({"a": 0.2})[True] == pytest.approx(p, abs=0.03)
    assert np.isfinite(known.learn_many_differences(X[:, None], np.ones(200))).all()


@every_learner
def test_what_was_learnt_in_a_unit_far_off_is_forgotten(learner: LearnerName) -> None:
    preferred, disliked = (of([*[size] * (FIRST - 1), 0.01], learner) for size in (0.01, -0.01))
    assert preferred.weights == disliked.weights


@every_learner
def test_a_unit_that_grows_a_hundred_million_times_leaves_numbers(learner: LearnerName) -> None:
    model = of([*[1e-8] * FIRST, *[0.5] * 12], learner)
    assert model.scales == {"a": UNIT}
    assert math.isfinite(model.weights["a"])
    assert 0.5 < model.predict_proba_one({"a": 0.5})[True] < 1.0


def test_a_difference_below_all_rounding_settles_nothing() -> None:
    assert of([1e-17] * 40).scales == {"a": UNIT}


def test_a_unit_is_restored_to_the_bit_while_it_is_being_settled() -> None:
    X = np.random.default_rng(3).normal(0, 0.02, (60, 1))
    whole, half = Laplace().with_features("a"), Laplace().with_features("a")
    whole.learn_many_differences(X, np.ones(60))
    half.learn_many_differences(X[:9], np.ones(9))
    half = Laplace.from_state(half.state())
    half.learn_many_differences(X[9:], np.ones(51))
    assert half.weights == whole.weights
    assert half.scales == whole.scales


def test_a_number_beyond_all_scores_is_missing_to_a_critic_with_a_small_unit() -> None:
    assert within_reach(0.9, 0.04) == 0.04
    assert math.isnan(within_reach(16.5, 0.04))


def test_a_larger_unit_changes_the_prior_alone() -> None:
    """The posterior of the same evidence under the prior in the new unit, by elimination."""
    rng = np.random.default_rng(4)
    Z, prior, variance, times = rng.normal(size=(9, 3)), 0.16, 0.06, 3.0
    evidence, pull = Z.T @ Z, rng.normal(size=3)
    scale = np.array([1.0, times, 1.0])

    def posterior(of: Array, towards: Array) -> tuple[Array, Array]:
        inverse = np.asarray(np.linalg.inv(of + np.eye(3) / variance), dtype=np.float64)
        covariance = (inverse + inverse.T) / 2.0
        return covariance @ (towards + prior / variance), covariance

    weights, covariance = posterior(evidence, pull)
    change_unit(1, times, weights, covariance, prior, variance)
    expected, spread = posterior(evidence / np.outer(scale, scale), pull / scale)
    assert weights == pytest.approx(expected, rel=1e-9)
    assert covariance == pytest.approx(spread, rel=1e-9)
    assert (covariance == covariance.T).all()
