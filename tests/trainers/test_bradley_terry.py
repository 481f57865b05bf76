from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.messages.contracts import RewardSnapshot
from tests.runner.fakes import snapshot
from trainers.bradley_terry import (
    BradleyTerry,
    LinearReward,
    confidence,
    prob_prefer,
    sigmoid,
)
from trainers.estimators import LEARNERS, LearnerName, Recipe
from trainers.features import difference

unit = st.floats(0, 1)
scores = st.dictionaries(st.sampled_from(["a.x", "b.y", "c.z"]), st.none() | unit)
sides = st.lists(st.tuples(scores, scores), max_size=15)
Sides = list[tuple[dict[str, float | None], dict[str, float | None]]]


def learnt(pairs: Sides, learner: LearnerName = "river-logistic") -> BradleyTerry:
    model = BradleyTerry(Recipe(learner=learner).new())
    for chosen, rejected in pairs:
        model.learn_pair(difference(chosen, rejected))
    return model


@settings(deadline=None)  # the first example compiles
@pytest.mark.parametrize("learner", LEARNERS)
@given(pairs=sides, a=scores, b=scores)
def test_the_two_sides_sum_to_one(
    learner: LearnerName, pairs: Sides, a: dict[str, float | None], b: dict[str, float | None]
) -> None:
    reward = learnt(pairs, learner).frozen()
    assert reward.prob_prefer(difference(a, b)) + reward.prob_prefer(difference(b, a)) == pytest.approx(1.0)


def test_a_missing_critic_contributes_nothing() -> None:
    reward = LinearReward({"a.x": 3.0, "b.y": 1.0})
    assert reward.prob_prefer({"b.y": 0.5}) == sigmoid(0.5)
    assert difference({"a.x": 0.9}, {"a.x": None}) == {}


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_pair_without_a_common_critic_teaches_nothing(learner: LearnerName) -> None:
    model = learnt([({"a.x": 1.0}, {"a.x": 0.0})], learner)
    before = model.estimator.state()
    model.learn_pair(difference({"a.x": 0.9}, {"b.y": 0.1}))
    assert model.estimator.state() == before


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
