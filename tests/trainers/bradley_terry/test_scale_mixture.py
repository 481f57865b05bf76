"""The prior of critics' weights: what it does to a posterior, and that nothing makes it leave the numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from trainers.bradley_terry.estimators import Recipe, estimator_from_state
from trainers.bradley_terry.laplace import Laplace
from trainers.bradley_terry.scale_mixture import LARGE, SCALES, USUAL
from trainers.compiled import Array
from trainers.online.models import Models

UNIT = 0.25
MEAN, VARIANCE, SPARSITY = 0.16, 0.06, 1 / 16


def learnt(weights: Array, n: int, **parameters: float) -> Laplace:
    """Of n pairs that a logistic model with these weights (per UNIT) labels."""
    rng = np.random.default_rng(1)
    X = rng.normal(0, UNIT, (n, len(weights)))
    prefers = rng.random(n) < 1 / (1 + np.exp(-X @ weights / UNIT))
    model = Laplace(**parameters).with_features([f"c{j:02d}" for j in range(len(weights))])
    model.learn_many_differences(np.where(prefers[:, None], X, -X), np.ones(n))
    return model


def saved(model: Laplace) -> dict[str, Any]:
    state: dict[str, Any] = orjson.loads(orjson.dumps(model.state(), option=orjson.OPT_SERIALIZE_NUMPY))
    return state


def served(model: Laplace) -> tuple[Array, Array]:
    covariance = model.covariance
    assert covariance is not None
    return np.array(list(model.weights.values())), covariance


def test_of_one_critic_it_is_the_mixtures_posterior() -> None:
    """By quadrature: what the learner knows without its normal prior, times the mixture."""
    model = learnt(np.array([0.9]), 30, drift_delta=0.0)
    state = saved(model)
    (m,), ((v,),) = state["mean"], state["covariance"]
    c = 1 / v - 1 / VARIANCE
    h = m / v - MEAN / VARIANCE
    counts = np.array([SPARSITY**2, USUAL, LARGE]) / (SPARSITY**2 + USUAL + LARGE)

    def density(w: float) -> float:
        prior = sum(
            q * norm.pdf(w, a * MEAN, a * math.sqrt(VARIANCE)) for q, a in zip(counts, SCALES, strict=True)
        )
        return float(prior * math.exp(h * w - c * w * w / 2 - h * h / (2 * c)))

    total, first, second = (
        quad(lambda w, k=k: w**k * density(w), -4, 6, points=[h / c])[0] for k in range(3)
    )
    (weight,), ((variance,),) = served(model)
    assert weight == pytest.approx(first / total, rel=1e-6)
    assert variance == pytest.approx(second / total - (first / total) ** 2, rel=1e-5)


def test_among_many_critics_of_which_few_matter_the_others_are_held_for_nothing() -> None:
    truth = np.array([1.0, 0.8, *[0.0] * 30])
    few, normal = (served(learnt(truth, 150, sparsity=sparsity))[0] for sparsity in (SPARSITY, 0.0))
    assert np.abs(few[2:]).mean() < 0.6 * np.abs(normal[2:]).mean()
    assert few[:2].min() > 0.9 * normal[:2].min()


def test_above_six_critics_the_prior_narrows_with_the_square_root_of_their_number() -> None:
    def variance(n: int) -> float:
        """Of one weight before any pair, where no critic is expected to be worthless."""
        model = Laplace(prior_mean=0.0, sparsity=1e-9).with_features([f"c{j:02d}" for j in range(n)])
        return float(served(model)[1][0, 0])

    assert variance(6) == pytest.approx(variance(1), rel=1e-6)
    assert variance(24) == pytest.approx(variance(6) / 2, rel=1e-6)


def test_of_four_critics_alike_it_changes_little() -> None:
    mixed, normal = (served(learnt(np.full(4, 0.3), 100, sparsity=s)) for s in (SPARSITY, 0.0))
    assert mixed[0] == pytest.approx(normal[0], abs=0.03)
    assert np.diag(mixed[1]) == pytest.approx(np.diag(normal[1]), rel=0.1)


def test_the_order_of_the_features_does_not_matter() -> None:
    model = learnt(np.linspace(-0.3, 1.0, 20), 80)
    state, turned = saved(model), saved(model)
    for name in ("features", "mean", "prior", "scale", "warm_up", "far", "mixed"):
        turned[name] = turned[name][::-1]
    turned["largest"] = [row[::-1] for row in turned["largest"]]
    turned["covariance"] = [row[::-1] for row in turned["covariance"][::-1]]
    forth, back = (estimator_from_state(of).weights for of in (state, turned))
    assert back == pytest.approx(forth, rel=1e-9)


def test_what_is_served_is_symmetric_to_the_bit_and_positive() -> None:
    _, covariance = served(learnt(np.linspace(-1.0, 1.5, 35), 200))
    assert (covariance == covariance.T).all()
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_learning_does_not_depend_on_it() -> None:
    of_mixture, of_normal = (saved(learnt(np.linspace(-0.5, 1, 6), 500, sparsity=s)) for s in (SPARSITY, 0.0))
    for name in ("mean", "covariance", "block", "observed"):
        assert of_mixture[name] == of_normal[name]


def test_a_context_follows_by_what_it_has_in_common_with_the_critics() -> None:
    """As if both were updated in full: precision and shift of the critic's factor alone change."""
    rng = np.random.default_rng(2)
    X = rng.normal(0, UNIT, (60, 2)) @ np.array([[1.0, 0.7], [0.0, 0.7]])
    model = Laplace().with_features(["c", "@speed"])
    model.learn_many_differences(np.where(X[:, :1] > 0, X, -X), np.ones(60))
    state = saved(model)
    m, P = np.array(state["mean"]), np.linalg.inv(state["covariance"])
    weights, covariance = served(model)
    change = np.linalg.inv(covariance) - P
    assert np.abs(change[[0, 1, 1], [1, 0, 1]]).max() < 1e-9 * P.max()
    shift = (P + change) @ weights - P @ m
    assert abs(shift[1]) < 1e-9 * P.max()
    assert abs(weights[1] - m[1]) > 1e-3


def test_before_any_pair_a_critic_that_is_known_and_one_that_is_not_are_predicted_alike() -> None:
    x = {"a": 0.4, "b": -0.1}
    known = Laplace().with_features(["a", "b"])
    assert Laplace().logit_one(x) == pytest.approx(known.logit_one(x), rel=1e-12)
    assert known.predict_proba_one(x)[True] > 0.5


def test_what_was_learnt_before_it_began_keeps_a_normal_prior() -> None:
    model = learnt(np.array([1.0, *[0.0] * 20]), 100)
    begun = model.begun_from()
    assert begun.weights == model.weights
    assert begun.covariance == pytest.approx(VARIANCE * np.eye(21))
    assert begun.with_features(["new"]).weights["new"] != MEAN


def test_a_drift_alarm_leaves_a_normal_prior_to_what_is_known() -> None:
    model = learnt(np.array([1.2, 0.8]), 4000)
    while model.alarms == 0:
        model.learn_many_differences(np.array([[-UNIT, 0.1]]), np.ones(1))
    state = saved(model)
    assert state["mixed"] == [0, 0]
    assert served(model)[0].tolist() == state["mean"]


def test_the_reference_of_the_gate_has_a_normal_prior() -> None:
    assert Models.new(Recipe()).reference.with_features(["critics_mean"]).weights == {"critics_mean": MEAN}


def test_a_state_with_a_flag_that_is_none_is_refused() -> None:
    state = saved(learnt(np.array([0.5]), 10))
    state["mixed"] = [2]
    with pytest.raises(ValueError, match="flags of the prior"):
        estimator_from_state(state)


@pytest.mark.parametrize("size", [1e-300, 1e-9, 1.0, 1e6])
@pytest.mark.parametrize("copies", [1, 64])
@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e3])
def test_differences_of_any_size_and_weight_leave_finite_weights(
    size: float, copies: int, weight: float
) -> None:
    """Of copies of one critic, so that the posterior is nearly singular, and of one never seen."""
    rng = np.random.default_rng(3)
    X = np.repeat(size * rng.choice([-1.0, 1.0, 1.0], (40, 1)), copies + 1, axis=1)
    X[:, -1] = math.nan
    model = Laplace().with_features([f"c{j}" for j in range(copies + 1)])
    for row in X:
        model.learn_many_differences(row[None, :], np.array([weight]))
        weights, covariance = served(model)
        assert np.abs(weights).max() < 1e4
        assert np.isfinite(covariance).all()
        assert np.diag(covariance).min() >= 0
