"""A step taken back: the estimator is what it was, whatever it had learnt before, and never out of bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.bradley_terry.estimators import (
    LEARNERS,
    LearnerName,
    PairEstimator,
    Recipe,
    estimator_from_state,
)
from trainers.compiled import Array, Flags

NAMES = ["a.x", "b.x", "c.x", "d.x"]
_OF_THE_MOVE = 0.03
_FORGOTTEN = 4e-6
"""Of a weight with each pair of ``Laplace``, which is not undone."""


def rows(seed: int, n: int) -> tuple[Array, Array, Flags]:
    """Differences (n, 4) of scores in [0, 1] with gaps, weights (n,), and which are ties (n,)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0.0, 0.4, (n, len(NAMES))).clip(-1.0, 1.0)
    X[rng.random(X.shape) < 0.15] = np.nan
    return X, rng.uniform(0.05, 1.0, n), rng.random(n) < 0.2


def learnt(learner: LearnerName, seed: int, n: int) -> PairEstimator:
    model = Recipe(learner=learner).new().with_features(NAMES)
    X, w, ties = rows(seed, n)
    model.learn_many_differences(X, w, ties)
    return model


def weights(model: PairEstimator) -> Array:
    return np.array(list(model.weights.values()))


@pytest.mark.parametrize("learner", LEARNERS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.sampled_from([0, 1, 5, 40, 300]))
def test_what_is_learnt_and_undone_leaves_the_weights_where_they_were(
    learner: LearnerName, seed: int, n: int
) -> None:
    model = learnt(learner, seed, n)
    before, nu_before = weights(model), model.tie_nu
    X, w, ties = rows(seed + 1, 1)
    model.learn_many_differences(X, w, ties)
    moved, nu_moved = np.abs(weights(model) - before), abs(model.tie_nu - nu_before)
    model.undo(X[0], float(w[0]), bool(ties[0]))
    assert np.abs(weights(model) - before).max() <= _OF_THE_MOVE * moved.max() + _FORGOTTEN
    assert abs(model.tie_nu - nu_before) <= _OF_THE_MOVE * nu_moved + 1e-9
    estimator_from_state(model.state())


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_undone_after_many_others_leaves_what_these_taught(learner: LearnerName) -> None:
    moved = left = 0.0
    for seed in range(40):
        X, w, _ = rows(seed, 60)
        one, weight, _ = rows(seed + 1, 1)
        without, model = (Recipe(learner=learner).new().with_features(NAMES) for _ in range(2))
        without.learn_many_differences(X, w)
        model.learn_many_differences(
            np.concatenate([X[:20], one, X[20:]]), np.concatenate([w[:20], weight, w[20:]])
        )
        moved += np.abs(weights(model) - weights(without)).sum()
        model.undo(one[0], float(weight[0]), tie=False)
        left += np.abs(weights(model) - weights(without)).sum()
    assert left <= 0.1 * moved


@pytest.mark.parametrize("learner", LEARNERS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.sampled_from([0, 3, 50]), times=st.integers(1, 30))
def test_what_was_never_learnt_can_be_undone_often_without_leaving_the_bounds(
    learner: LearnerName, seed: int, n: int, times: int
) -> None:
    model = learnt(learner, seed, n)
    X, w, ties = rows(seed + 1, 1)
    for _ in range(times):
        model.undo(100.0 * X[0] if seed % 3 == 0 else X[0], float(w[0]), bool(ties[0]))
        estimator_from_state(model.state())
    assert np.isfinite(weights(model)).all()


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_only_tie_undone_leaves_a_model_without_ties(learner: LearnerName) -> None:
    model = learnt(learner, 0, 0)
    X, _, _ = rows(1, 3)
    decided = np.zeros(1, dtype=np.bool_)
    model.learn_many_differences(X[:1], np.ones(1), decided)
    model.learn_many_differences(X[1:2], np.ones(1), ~decided)
    assert model.tie_nu > 0.0
    model.undo(X[1], 1.0, tie=True)
    assert model.tie_nu == 0.0


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_row_of_nothing_known_or_without_weight_undoes_nothing(learner: LearnerName) -> None:
    model = learnt(learner, 2, 20)
    before = weights(model)
    model.undo(np.full(6, np.nan), 1.0, tie=False)
    model.undo(np.ones(4), 0.0, tie=False)
    model.undo(np.array([np.nan] * 4 + [1.0]), 1.0, tie=False)
    assert (weights(model) == before).all()
