"""scikit-learn's logistic regression, of all pairs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from tests.bench.learning_peers.pairs import Array, Flags, NoAnswer, Pairs, Setting

_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


class _Model:
    def __init__(self, fitted: LogisticRegression) -> None:
        self._fitted = fitted

    def predict(self, pairs: Pairs) -> Array:
        return np.asarray(self._fitted.predict_proba(pairs.X)[:, 1])


class ScikitLearn:
    """Its defaults are C = 1 and an intercept; the other settings have none."""

    settings: tuple[Setting, ...] = (
        {},
        *({"C": C, "fit_intercept": False, "max_iter": 1000} for C in _PENALTIES),
    )
    most_orders, most_early_orders = 1, 8
    uncertain: tuple[Setting, ...] = ()
    bootstraps = 0

    def rows(self, X: Array) -> Sequence[Any]:
        return ()

    def fit(self, pairs: Pairs, setting: Setting) -> _Model:
        if pairs.wins.all() or not pairs.wins.any():
            raise NoAnswer("one class alone")
        return _Model(LogisticRegression(**setting).fit(pairs.X, pairs.wins, pairs.weights))

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        LogisticRegression().fit(DictVectorizer().fit_transform(rows), wins)


def peer(_: str) -> ScikitLearn:
    return ScikitLearn()
