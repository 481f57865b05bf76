"""Online Laplace: logistic regression with a full Gaussian posterior over its weights, one pair at a time.

The step is that of an extended Kalman filter for a Bernoulli observation (MacKay 1992, "The evidence
framework applied to classification networks": the predictive probability σ(μ/√(1 + πv/8)) of a Gaussian
logit). Weights are per ``unit_of`` a feature's difference, which is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from river import base

from trainers.compiled import Array, compiled
from trainers.features import YOUTH, is_critic, reach_of, unit_of
from trainers.lean_river import with_scipy_stats_later, without_sklearn

with without_sklearn(), with_scipy_stats_later():
    from river.drift import ADWIN

_BLOCK = 8.0
"""Weight of pairs whose mean loss is one observation of the drift detector. Pairs of one task are alike, and
count less the more there are, so that a long task is no drift."""
_CHECK = 4
"""Observations between two looks of the detector."""
_GAIN = 8.0
"""ADWIN's bound is for values in [0, 1]; means of eight losses spread so little that it would sleep."""
_CLIP = 2.0
"""Nats of one pair that count at most for the detector."""
_REMEMBERED = 1024
"""Observations after which the detector forgets the older half."""


@compiled
def _learn(  # type: ignore[no-untyped-def]
    X, w, start, stop, mean, cov, scale, reach, young, prior_mean, prior_variance, forgetting, p, block
):
    """Rows from ``start`` of X (n, d), each a difference in favour of what happened; NaN is missing.

    Changes the state in place and writes to ``p`` what was predicted of each row before it was learnt.
    ``block`` is (weight, summed loss) of the unfinished block. Ends where a block does, or at ``stop``;
    returns where it has come to, and the mean loss of the block that was finished, or NaN.
    """
    d = X.shape[1]
    z = np.empty(d)
    g = np.empty(d)
    for i in range(start, stop):
        mu = 0.0
        for j in range(d):
            x = X[i, j]
            if math.isnan(x):
                z[j] = 0.0
            else:
                if young[j] > 0.0:
                    young[j] -= 1.0
                    while abs(x) > reach[j] * scale[j]:
                        scale[j] *= 2.0
                z[j] = x / scale[j]
            mu += mean[j] * z[j]
            g[j] = 0.0
        for k in range(d):
            for j in range(d):  # cov is symmetric, so this is cov @ z
                g[j] += cov[k, j] * z[k]
        v = 0.0
        for j in range(d):
            v += g[j] * z[j]
        kappa = 1.0 / math.sqrt(1.0 + math.pi * v / 8.0)
        q = 1.0 / (1.0 + math.exp(-kappa * mu))
        p[i] = q

        information = w[i] * kappa * q * (1.0 - q)
        shrink = information / (1.0 + information * v)
        step = w[i] * (1.0 - q) / (1.0 + information * v)
        keep = (1.0 - forgetting) ** w[i]
        keep2 = keep * keep
        for j in range(d):
            mean[j] = prior_mean[j] + keep * (mean[j] + step * g[j] - prior_mean[j])
            for k in range(d):
                cov[j, k] = keep2 * (cov[j, k] - shrink * (g[j] * g[k]))
            cov[j, j] += (1.0 - keep2) * prior_variance

        block[0] += w[i]
        block[1] += w[i] * (min(-math.log(q), _CLIP) if q > 0.0 else _CLIP)
        if block[0] >= _BLOCK:
            mean_loss = block[1] / block[0]
            block[0] = 0.0
            block[1] = 0.0
            return i + 1, mean_loss
    return stop, math.nan


class Laplace(base.Classifier):
    """Bayesian logistic regression without an intercept, for differences of scores.

    ``prior_mean`` (of critics' weights; 0 for those of contexts) and ``prior_variance`` are in nats per
    ``unit_of`` a feature's difference: critics are taken to be right until pairs say otherwise.
    ``forgetting`` is the share by which mean and covariance go back towards the prior with every pair (an
    Ornstein–Uhlenbeck process), which keeps the posterior from becoming so narrow that it cannot follow. A
    drift alarm (ADWIN at ``drift_delta`` sees a higher loss; 0 turns it off) sets the covariance back to the
    prior and keeps the mean.

    Any feature may be missing, new or gone in a row: a missing one contributes nothing, a new one starts
    with the prior. Differences beyond 1 among the first ``YOUTH`` of a feature double its unit until they are
    within; later the unit stays.

    >>> model = Laplace()
    >>> for _ in range(50):
    ...     model.learn_one({"task": 0.5}, True)
    >>> round(model.predict_proba_one({"task": 0.5})[True], 2)
    0.87
    """

    name: ClassVar[str] = "laplace"

    def __init__(
        self,
        prior_mean: float = 0.12,
        prior_variance: float = 0.08,
        forgetting: float = 4e-6,
        drift_delta: float = 0.002,
    ) -> None:
        self.prior_mean = prior_mean
        self.prior_variance = prior_variance
        self.forgetting = forgetting
        self.drift_delta = drift_delta
        self.alarms = 0
        """Drift alarms so far."""
        self._columns: dict[str, int] = {}
        self._mean: Array = np.empty(0)
        self._cov: Array = np.empty((0, 0))
        self._scale: Array = np.empty(0)
        self._young: Array = np.empty(0)
        self._prior: Array = np.empty(0)
        self._reach: Array = np.empty(0)
        self._block: Array = np.zeros(2)
        self._observed: list[float] = []
        self._detector = self._new_detector()

    @property
    def _multiclass(self) -> bool:
        return False

    def learn_one(self, x: Mapping[str, float], y: bool, w: float = 1.0) -> None:
        """Learn one difference; ``y`` says whether the first side was preferred, ``w`` what it counts."""
        self._add_features(x)
        sign = 1.0 if y else -1.0
        self.learn_many_differences(sign * self._row(x)[None, :], np.array([float(w)]))

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """P(first preferred to second), with the uncertainty of the weights taken in."""
        mu, v = self.logit_one(x)
        logit = mu / math.sqrt(1.0 + math.pi * v / 8.0)
        p = 1.0 / (1.0 + math.exp(-logit)) if logit > -700.0 else 0.0
        return {True: p, False: 1.0 - p}

    def logit_one(self, x: Mapping[str, float]) -> tuple[float, float]:
        """Posterior mean and variance of the logit, in nats and nats squared."""
        z = np.nan_to_num(self._row(x)) / self._scale
        new = [name for name in x if name not in self._columns]
        z_new = np.array([x[name] / unit_of(name) for name in new])
        mu = float(self._mean @ z) + float(self._prior_means(new) @ z_new)
        return mu, float(z @ self._cov @ z) + self.prior_variance * float(z_new @ z_new)

    def learn_many_differences(self, X: Array, w: Array) -> Array:
        """Learn the rows of X (n, d) in their order; returns P (n,) of each before it was learnt.

        Rows are differences chosen − rejected, NaN where a critic is missing; columns are ``features``.
        The same bits as ``learn_one`` row by row. Raises ValueError for another number of columns.
        """
        if X.shape[1] != len(self._columns):
            raise ValueError(
                f"X has {X.shape[1]} columns; expected {len(self._columns)}, one for each feature"
            )
        X = np.ascontiguousarray(X, dtype=np.float64)
        w = np.ascontiguousarray(w, dtype=np.float64)
        p = np.empty(len(X))
        start = 0
        while start < len(X):
            start, mean_loss = _learn(
                X, w, start, len(X), self._mean, self._cov, self._scale, self._reach, self._young,
                self._prior, self.prior_variance, self.forgetting, p, self._block,
            )  # fmt: skip
            if not math.isnan(mean_loss):
                self._observe(mean_loss)
        return p

    def with_features(self, names: Sequence[str]) -> Laplace:
        """Know these features, in this order, before any row; returns itself."""
        self._add_features(names)
        return self

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self._columns)

    @property
    def weights(self) -> dict[str, float]:
        """Posterior mean per ``scales`` of a feature's difference."""
        return dict(zip(self._columns, map(float, self._mean), strict=True))

    @property
    def scales(self) -> dict[str, float]:
        return dict(zip(self._columns, map(float, self._scale), strict=True))

    @property
    def covariance(self) -> list[list[float]]:
        """Of ``weights``, rows and columns as in ``features``."""
        return [[float(value) for value in row] for row in self._cov]

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on, as JSON values; floats survive JSON exactly."""
        return {
            "learner": self.name,
            "parameters": self._get_params(),
            "features": list(self._columns),
            "mean": list(map(float, self._mean)),
            "covariance": self.covariance,
            "scale": list(map(float, self._scale)),
            "young": list(map(float, self._young)),
            "block": list(map(float, self._block)),
            "observed": list(self._observed),
            "alarms": self.alarms,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Laplace:
        """The estimator that had this state, to the bit."""
        model = cls(**state["parameters"])
        model._columns = {name: column for column, name in enumerate(state["features"])}
        d = len(model._columns)
        model._mean = np.array(state["mean"], dtype=np.float64)
        model._cov = np.array(state["covariance"], dtype=np.float64).reshape(d, d)
        model._scale = np.array(state["scale"], dtype=np.float64)
        model._young = np.array(state["young"], dtype=np.float64)
        model._block = np.array(state["block"], dtype=np.float64)
        model._prior = model._prior_means(model._columns)
        model._reach = np.array([reach_of(name) for name in model._columns], dtype=np.float64)
        model.alarms = state["alarms"]
        for mean in state["observed"]:
            model._observed.append(mean)
            model._detector.update(_GAIN * mean)
        return model

    def _row(self, x: Mapping[str, float]) -> Array:
        return np.array([x.get(name, math.nan) for name in self._columns], dtype=np.float64)

    def _add_features(self, names: Sequence[str] | Mapping[str, float]) -> None:
        new = [name for name in names if name not in self._columns]
        if not new:
            return
        old, d = len(self._columns), len(self._columns) + len(new)
        for name in new:
            self._columns[name] = len(self._columns)
        cov = self.prior_variance * np.eye(d)
        cov[:old, :old] = self._cov
        self._cov = cov
        self._mean = np.concatenate([self._mean, self._prior_means(new)])
        self._scale = np.concatenate([self._scale, [unit_of(name) for name in new]])
        self._young = np.concatenate([self._young, np.full(len(new), float(YOUTH))])
        self._prior = np.concatenate([self._prior, self._prior_means(new)])
        self._reach = np.concatenate([self._reach, [reach_of(name) for name in new]])

    def _prior_means(self, names: Iterable[str]) -> Array:
        """That higher is better is taken of critics alone."""
        return np.array([self.prior_mean if is_critic(name) else 0.0 for name in names])

    def _observe(self, mean: float) -> None:
        if not self.drift_delta:
            return
        before = self._detector.estimation
        self._observed.append(mean)
        self._detector.update(_GAIN * mean)
        # That predictions get better is no alarm, and ADWIN has then let go of the past by itself.
        if self._detector.drift_detected and self._detector.estimation > before:
            self.alarms += 1
            self._cov[:] = self.prior_variance * np.eye(len(self._columns))
            self._observed.clear()
            self._detector = self._new_detector()
        elif len(self._observed) == _REMEMBERED:
            del self._observed[: _REMEMBERED // 2]
            self._detector = self._new_detector()
            for earlier in self._observed:
                self._detector.update(_GAIN * earlier)

    def _new_detector(self) -> ADWIN:
        return ADWIN(delta=self.drift_delta or 0.5, clock=_CHECK, grace_period=5, min_window_length=5)
