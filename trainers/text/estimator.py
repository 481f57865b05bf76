"""Logistic regression over hashed features with an independent Gaussian posterior for each weight.

The step is that of ``laplace`` with a covariance that stays diagonal (assumed density filtering;
Graepel et al. 2010, "Web-scale Bayesian click-through rate prediction", use it for a probit): a rare n-gram
moves far with its first pair, a frequent one settles. Weights and variances are float32, sums float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from river import base

from trainers.bradley_terry.reward import prob_of_gaussian, shrinkage, sigmoid
from trainers.compiled import Array, compiled
from trainers.text.ngrams import BUCKETS, LENGTH, Ints, bucket_of
from trainers.text.packed import pack, pack_mask, unpack, unpack_mask

SIZE = BUCKETS + 1
"""Number of weights: one per bucket, and one for the length."""
assert LENGTH == BUCKETS
Floats = NDArray[np.float32]


# After changing these, change this file too: numba does not notice otherwise.
_sigmoid = compiled(sigmoid)
_shrinkage = compiled(shrinkage)


@compiled
def _logit(at, x, mean, variance):  # type: ignore[no-untyped-def]
    mu = 0.0
    v = 0.0
    for j in range(len(at)):
        mu += mean[at[j]] * x[j]
        v += variance[at[j]] * x[j] * x[j]
    return mu, v


@compiled
def _learn(at, x, w, mean, variance):  # type: ignore[no-untyped-def]
    mu, v = _logit(at, x, mean, variance)
    kappa = _shrinkage(v)
    q = _sigmoid(kappa * mu)
    information = w * kappa * q * (1.0 - q)
    shrink = information / (1.0 + information * v)
    step = w * (1.0 - q) / (1.0 + information * v)
    for j in range(len(at)):
        g = variance[at[j]] * x[j]
        mean[at[j]] += step * g
        variance[at[j]] -= shrink * g * g


class DiagonalLaplace(base.Classifier):
    """Bayesian logistic regression without an intercept, for differences of texts.

    ``prior_variance`` is that of each weight, in nats squared; prior means are 0. Every feature is hashed by
    its name into one of ``BUCKETS`` weights.

    >>> model = DiagonalLaplace()
    >>> for _ in range(50):
    ...     model.learn_one({"sorry": 1.0}, True)
    >>> round(model.predict_proba_one({"sorry": 1.0})[True], 2)
    0.96
    """

    name: ClassVar[str] = "diagonal-laplace"

    def __init__(self, prior_variance: float = 1.0) -> None:
        self.prior_variance = prior_variance
        self._mean: Floats = np.zeros(SIZE, dtype=np.float32)
        self._variance: Floats = np.full(SIZE, prior_variance, dtype=np.float32)

    @property
    def _multiclass(self) -> bool:
        return False

    @property
    def mean(self) -> Floats:
        """(SIZE,): posterior means of the weights."""
        return self._mean

    @property
    def variance(self) -> Floats:
        """(SIZE,): their posterior variances; the inverse is the information about each."""
        return self._variance

    def learn_one(self, x: Mapping[str, float], y: bool, w: float = 1.0) -> None:
        """Learn one difference; ``y`` is whether the first side was preferred, ``w`` is its weight."""
        at, values = _hashed(x)
        self.learn(at, values if y else -values, w)

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """P(first preferred to second), averaged over the uncertainty of the weights."""
        p = self.prob_prefer(*_hashed(x))
        return {True: p, False: 1.0 - p}

    def learn(self, at: Ints, x: Array, w: float = 1.0) -> None:
        """Learn one difference in favour of the preferred side: x (m,) at distinct weights ``at`` (m,)."""
        _learn(at, x, float(w), self._mean, self._variance)

    def logit(self, at: Ints, x: Array) -> tuple[float, float]:
        """Posterior mean and variance of x·weights, in nats and nats squared."""
        mu, v = _logit(at, x, self._mean, self._variance)
        return float(mu), float(v)

    def prob_prefer(self, at: Ints, x: Array) -> float:
        """P(first ≻ second) for their difference."""
        return prob_of_gaussian(*self.logit(at, x))

    def temper(self, share: float) -> None:
        """Reduce the weight of what was learnt so far to ``share``: raises the likelihood to that power."""
        prior = 1.0 / self.prior_variance
        known = 1.0 / self._variance.astype(np.float64)
        precision = prior + share * (known - prior)
        self._mean[:] = share * known * self._mean / precision
        self._variance[:] = 1.0 / precision

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on, as JSON values."""
        moved = (self._mean != 0) | (self._variance != np.float32(self.prior_variance))
        return {
            "learner": self.name,
            "parameters": self._get_params(),
            "moved": pack_mask(moved),
            "mean": pack(self._mean[moved]),
            "variance": pack(self._variance[moved]),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DiagonalLaplace:
        """The estimator with this state, bit for bit. Raises ValueError for an invalid state."""
        model = cls(**state["parameters"])
        moved = unpack_mask(state["moved"], SIZE)
        model._mean[moved] = unpack(state["mean"], np.float32)
        model._variance[moved] = unpack(state["variance"], np.float32)
        return model


def _hashed(x: Mapping[str, float]) -> tuple[Ints, Array]:
    summed: dict[int, float] = {}
    for name, value in x.items():
        bucket = bucket_of(str(name))
        summed[bucket] = summed.get(bucket, 0.0) + float(value)
    return np.array(list(summed), dtype=np.int32), np.array(list(summed.values()), dtype=np.float64)
