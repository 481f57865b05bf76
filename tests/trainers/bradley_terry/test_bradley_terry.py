from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.messages.contracts import RewardSnapshot
from tests.runner.fakes import snapshot
from trainers.bradley_terry import kernels
from trainers.bradley_terry.features import difference, within_reach
from trainers.bradley_terry.reward import confidence, prob_prefer, shrinkage, sigmoid

unit = st.floats(0, 1)
scores = st.dictionaries(st.sampled_from(["a.x", "b.y", "c.z"]), st.none() | unit)
weights = st.dictionaries(st.sampled_from(["a.x", "b.y", "d.w"]), st.floats(-50, 50), min_size=1)


@given(weights=weights, a=scores, b=scores)
def test_the_two_sides_sum_to_one(
    weights: dict[str, float], a: dict[str, float | None], b: dict[str, float | None]
) -> None:
    model = snapshot(weights)
    assert prob_prefer(model, difference(a, b)) + prob_prefer(model, difference(b, a)) == pytest.approx(1.0)


def test_a_missing_critic_contributes_nothing() -> None:
    model = snapshot({"a.x": 3.0, "b.y": 1.0})
    assert prob_prefer(model, {"b.y": 0.5}) == sigmoid(0.5 / model.scales["b.y"])
    assert difference({"a.x": 0.9}, {"a.x": None}) == {}


def test_kernels_were_compiled_from_the_functions_of_today() -> None:
    for kernel, function in ((kernels._sigmoid, sigmoid), (kernels._shrinkage, shrinkage)):
        for x in (0.0, 0.3, 4.0, 90.0):
            assert kernel(x) == pytest.approx(function(x), rel=1e-15)


def test_the_kernel_of_what_is_within_reach_was_compiled_from_the_function_of_today() -> None:
    for x in (0.0, -0.3, 4.0, 5.0, -64.0, 64.1, -1e300, math.nan):
        assert kernels._within_reach(x, 4.0) == pytest.approx(within_reach(x, 4.0), abs=0.0, nan_ok=True)


def test_the_tails_of_the_sigmoid_do_not_overflow() -> None:
    assert (sigmoid(-1e4), sigmoid(1e4)) == (0.0, 1.0)


def test_a_point_estimate_is_fully_confident() -> None:
    assert confidence(snapshot(), {"eye.quality": 1.0}) == 1.0


def posterior(seed: int) -> tuple[RewardSnapshot, np.ndarray]:
    """A snapshot with two features, and the covariance of its weights."""
    root = np.random.default_rng(seed).normal(size=(2, 2))
    cov = root @ root.T
    made = snapshot({"a.x": 1.0, "b.y": -0.5})
    return replace(made, covariance=tuple(map(tuple, cov))), cov


def test_confidence_is_what_the_uncertainty_of_the_weights_leaves_of_the_logit() -> None:
    """Against a million draws from the posterior: the mean preference is near σ(c · logit)."""
    model, cov = posterior(1)
    d = {"a.x": 0.2, "b.y": -0.2}
    z = np.array(list(d.values())) / 0.25
    draws = np.random.default_rng(2).multivariate_normal([1.0, -0.5], cov, 1_000_000) @ z
    mean = (1 / (1 + np.exp(-draws))).mean()
    logit = np.log(prob_prefer(model, d) / (1 - prob_prefer(model, d)))
    assert sigmoid(confidence(model, d) * logit) == pytest.approx(mean, abs=0.01)


def test_confidence_is_less_the_further_apart_the_sides_are() -> None:
    model, _ = posterior(3)
    steps = [confidence(model, {"a.x": x, "b.y": 0.0}) for x in (0.0, 0.2, 0.9)]
    assert steps[0] == 1.0
    assert steps == sorted(steps, reverse=True)
    assert steps[2] < steps[1] < 1.0
