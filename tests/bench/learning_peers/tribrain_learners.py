"""TriBrain's own learners, as the peers are seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from tests.bench.learning_peers.pairs import Array, Flags, Pairs, Setting
from trainers.bradley_terry.estimators import LearnerName, PairEstimator, Recipe
from trainers.bradley_terry.features import unit_of


class _Model:
    def __init__(self, estimator: PairEstimator, names: tuple[str, ...]) -> None:
        self._estimator, self._names = estimator, names

    def predict(self, pairs: Pairs) -> Array:
        return self._estimator.predict_many_differences(self._names, _scores(pairs.X, self._names))

    def estimates(self) -> Array:
        return np.array(list(self._estimator.weights.values()))

    def stated(self) -> dict[str, Array]:
        covariance = self._estimator.covariance
        assert covariance is not None
        return {"posterior": covariance}


class OwnLearner:
    """At its defaults alone."""

    settings: tuple[Setting, ...] = ({},)
    most_orders = most_early_orders = 8
    bootstraps = 200

    def __init__(self, name: str) -> None:
        self._recipe = Recipe(learner=cast("LearnerName", name))
        self.uncertain: tuple[Setting, ...] = ({},) if name == "laplace" else ()

    def rows(self, X: Array) -> Sequence[Any]:
        return ()

    def fit(self, pairs: Pairs, setting: Setting) -> _Model:
        names = pairs.features
        estimator = self._recipe.new().with_features(names)
        towards = np.where(pairs.wins, 1.0, -1.0)[:, None]
        estimator.learn_many_differences(towards * _scores(pairs.X, names), pairs.weights)
        return _Model(estimator, names)

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        estimator = self._recipe.new()
        for row, won in zip(rows, wins.tolist(), strict=True):
            estimator.learn_one(row, won)


def _scores(X: Array, names: tuple[str, ...]) -> Array:
    return np.asarray(X * np.array([unit_of(name) for name in names]))


def peer(name: str) -> OwnLearner:
    return OwnLearner(name)
