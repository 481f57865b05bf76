"""River's logistic regression with River's own optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from river import linear_model, optim

from tests.bench.learning_peers.pairs import Array, Flags, Pairs, Setting

_OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD(.03)": lambda: optim.SGD(0.03),
    "SGD(.1)": lambda: optim.SGD(0.1),
    "SGD(InverseScaling(.1, .5))": lambda: optim.SGD(optim.schedulers.InverseScaling(0.1, 0.5)),
    "AdaGrad(.03)": lambda: optim.AdaGrad(0.03),
    "AdaGrad(.1)": lambda: optim.AdaGrad(0.1),
    "FTRLProximal(.05)": lambda: optim.FTRLProximal(alpha=0.05),
}


class _Model:
    def __init__(self, setting: Setting) -> None:
        self.river = linear_model.LogisticRegression()
        if setting:
            optimizer = _OPTIMIZERS[setting["optimizer"]]()
            self.river = linear_model.LogisticRegression(optimizer, intercept_lr=0.0)

    def predict(self, pairs: Pairs) -> Array:
        return np.array([self.river.predict_proba_one(row)[True] for row in pairs.rows])


class RiverOwn:
    """Its defaults are SGD(.01) with an intercept; the other settings have none."""

    settings: tuple[Setting, ...] = ({}, *({"optimizer": name} for name in _OPTIMIZERS))
    most_orders, most_early_orders = 4, 8
    uncertain: tuple[Setting, ...] = ()
    bootstraps = 0

    def rows(self, X: Array) -> Sequence[dict[int, float]]:
        return [dict(enumerate(row)) for row in X.tolist()]

    def fit(self, pairs: Pairs, setting: Setting) -> _Model:
        model = _Model(setting)
        learn = model.river.learn_one
        for row, won, weight in zip(pairs.rows, pairs.wins.tolist(), pairs.weights.tolist(), strict=True):
            learn(row, won, w=weight)
        return model

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        river = _Model({}).river
        for row, won in zip(rows, wins.tolist(), strict=True):
            river.learn_one(row, won)


def peer(_: str) -> RiverOwn:
    return RiverOwn()
