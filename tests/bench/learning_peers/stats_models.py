"""statsmodels' generalised linear model of all pairs at once, with the covariances that it offers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from tests.bench.learning_peers.pairs import Array, Flags, NoAnswer, Pairs, Setting, sigmoid


class _Model:
    def __init__(self, pairs: Pairs, weighted: bool, weights: Array) -> None:
        self._pairs, self._weighted, self._weights = pairs, weighted, weights

    def predict(self, pairs: Pairs) -> Array:
        return sigmoid(pairs.X @ self._weights)

    def estimates(self) -> Array:
        return self._weights

    def stated(self) -> dict[str, Array]:
        """Of maximum likelihood."""
        glm = _glm(self._pairs, self._weighted)
        covariances = {
            "inverse Hessian": glm.fit(),
            "sandwich by pair": glm.fit(cov_type="HC0"),
            "sandwich by task": glm.fit(cov_type="cluster", cov_kwds={"groups": self._pairs.tasks}),
        }
        of = "" if self._weighted else ", each pair counts 1"
        return {how + of: fitted.cov_params() for how, fitted in covariances.items()}


class Statsmodels:
    """Its defaults are maximum likelihood by IRLS; the other settings have a ridge of ``alpha`` a pair."""

    settings: tuple[Setting, ...] = ({}, *({"alpha": alpha} for alpha in (0.001, 0.003, 0.01, 0.03, 0.1)))
    uncertain: tuple[Setting, ...] = ({}, {"weighted": False})
    most_orders, most_early_orders = 1, 8
    bootstraps = 60

    def rows(self, X: Array) -> Sequence[Any]:
        return ()

    def fit(self, pairs: Pairs, setting: Setting) -> _Model:
        weighted = setting.get("weighted", True)
        glm = _glm(pairs, weighted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that classes are separable, and that a ridge has not converged
            try:
                ridge = setting.get("alpha")
                fitted = glm.fit_regularized(L1_wt=0.0, alpha=ridge) if ridge else glm.fit()
            except (np.linalg.LinAlgError, ValueError) as error:
                raise NoAnswer(str(error)) from error
        return _Model(pairs, weighted, np.asarray(fitted.params, dtype=np.float64))

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        raise NoAnswer("statsmodels takes no dicts")


def _glm(pairs: Pairs, weighted: bool) -> GLM:
    weights = pairs.weights if weighted else np.ones(len(pairs))
    return GLM(pairs.wins.astype(np.float64), pairs.X, family=Binomial(), var_weights=weights)


def peer(_: str) -> Statsmodels:
    return Statsmodels()
