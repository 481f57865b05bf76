"""Vowpal Wabbit in one pass: its own gradient steps, FTRL-proximal, and coin betting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from vowpalwabbit import Workspace

from tests.bench.learning_peers.pairs import Array, Flags, Pairs, Setting

_COMMON = "--quiet --loss_function logistic --link logistic"
_ALGORITHMS: dict[str, tuple[str, ...]] = {
    "vw-logistic": tuple(
        f"--noconstant -l {rate} --l2 {penalty}" for rate in (0.05, 0.15, 0.5, 1.5) for penalty in (0, 1e-3)
    ),
    "vw-ftrl": tuple(
        f"--ftrl --noconstant --ftrl_alpha {alpha} --ftrl_beta {beta}"
        for alpha in (0.005, 0.02, 0.08, 0.3)
        for beta in (0.1, 1.0)
    ),
    "vw-coin": tuple(
        f"--coin --noconstant --ftrl_alpha {alpha} --ftrl_beta {beta}"
        for alpha in (1, 4, 16, 64)
        for beta in (0.1, 1.0)
    ),
}
_DEFAULTS = {"vw-logistic": "", "vw-ftrl": "--ftrl", "vw-coin": "--coin"}


class _Model:
    def __init__(self, arguments: str) -> None:
        self._vw = Workspace(f"{_COMMON} {arguments}")

    def predict(self, pairs: Pairs) -> Array:
        return np.array([self._vw.predict(row) for row in pairs.rows])


class VowpalWabbit:
    """Its text format; pairs count their weights. Its defaults have a constant, the other settings none."""

    most_orders = most_early_orders = 8
    uncertain: tuple[Setting, ...] = ()
    bootstraps = 0

    def __init__(self, name: str) -> None:
        self.settings: tuple[Setting, ...] = tuple(
            {"arguments": arguments} for arguments in (_DEFAULTS[name], *_ALGORITHMS[name])
        )

    def rows(self, X: Array) -> Sequence[str]:
        return ["| " + " ".join(f"{j}:{x:.8g}" for j, x in enumerate(row) if x) for row in X.tolist()]

    def fit(self, pairs: Pairs, setting: Setting) -> _Model:
        model = _Model(setting["arguments"])
        learn = model._vw.learn
        labels = np.where(pairs.wins, 1, -1).tolist()
        for label, weight, row in zip(labels, pairs.weights.tolist(), pairs.rows, strict=True):
            learn(f"{label} {weight:.8g} {row}")
        return model

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        vw = _Model(self.settings[0]["arguments"])._vw
        for row, won in zip(rows, wins.tolist(), strict=True):
            example = vw.example({"f": list(row.items())})
            example.set_label_string("1" if won else "-1")
            vw.learn(example)
            vw.finish_example(example)


def peer(name: str) -> VowpalWabbit:
    return VowpalWabbit(name)
