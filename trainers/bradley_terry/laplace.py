"""Online Laplace: logistic regression with a full Gaussian posterior over its weights, one pair at a time.

The step is that of an extended Kalman filter for a Bernoulli observation (MacKay 1992, "The evidence
framework applied to classification networks", for ``prob_of_gaussian``). Weights are per ``unit_of`` a
feature's difference, which is fixed.

It learns with a normal prior, but serves the posterior under another: that of ``scale_mixture``, which
replaces the normal prior whenever the model is read. So learning a pair costs the square of the number of
features, and only reading the model costs its cube.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

# ``river.drift.ADWIN`` is a thin layer around this class, but importing it loads scikit-learn, pandas and
# scipy.stats (5 s) for data sets and detectors that are not used here.
from river._river_rust.drift import AdaptiveWindowing

from streams.messages.feature_names import is_critic
from streams.messages.limits import MAX_WEIGHT
from trainers.bradley_terry.kernels import BLOCK, CLIP, laplace_rows, posterior_covariance, posterior_mean
from trainers.bradley_terry.linear import LARGEST_WEIGHT, LinearEstimator, grown
from trainers.bradley_terry.reward import prob_of_gaussian
from trainers.bradley_terry.undo import undo_laplace
from trainers.compiled import Array, Flags, Ints
from trainers.other_version import within

_CHECK = 4
"""Observations between two checks of the detector."""
_GAIN = 8.0
"""ADWIN's bound is for values in [0, 1]; means of eight losses vary so little that it would never respond."""
_REMEMBERED = 1024
"""Observations after which the detector drops the older half."""


class Laplace(LinearEstimator):
    """Bayesian logistic regression without an intercept, for differences of scores.

    ``prior_mean`` (of critics' weights; 0 for those of contexts) and ``prior_variance`` are in nats per
    ``unit_of`` a feature's difference: critics are assumed to be right until pairs contradict. The
    pseudo-count of critics that hardly matter (``scale_mixture``) is their number times ``sparsity``,
    squared. If that is 0, the prior stays normal. It also stays normal for contexts, for features that were
    learnt before (``begun_from``), and for those known at a drift alarm. ``forgetting`` is the fraction by
    which mean and covariance return to the prior with every pair (an Ornstein–Uhlenbeck process); it keeps
    the posterior wide enough to follow changes. A drift alarm (ADWIN at ``drift_delta`` sees a higher loss; 0
    turns it off) resets the covariance to the prior and keeps the mean. ``LinearEstimator`` handles missing,
    new and large features. ``learn_many_differences`` returns predictions under the normal prior.

    >>> model = Laplace()
    >>> for _ in range(50):
    ...     model.learn_one({"task": 0.5}, True)
    >>> round(model.predict_proba_one({"task": 0.5})[True], 2)
    0.87
    """

    name: ClassVar[str] = "laplace"

    def __init__(
        self,
        prior_mean: float = 0.16,
        prior_variance: float = 0.06,
        forgetting: float = 4e-6,
        drift_delta: float = 0.002,
        sparsity: float = 1 / 16,
    ) -> None:
        within([prior_mean], (1,), -1e3, 1e3, "prior means")
        within([prior_variance], (1,), 1e-9, 1e3, "prior variances")
        within([forgetting, drift_delta], (2,), 0.0, 0.999, "forgetting and drift_delta")
        within([sparsity], (1,), 0.0, 1e3, "sparsity")
        self.prior_mean = prior_mean
        self.prior_variance = prior_variance
        self.forgetting = forgetting
        self.drift_delta = drift_delta
        self.sparsity = sparsity
        self.alarms = 0
        """Drift alarms so far."""
        self._begin()
        self._mean: Array = np.empty(0)
        self._cov: Array = np.empty((0, 0))
        self._prior: Array = np.empty(0)
        self._mixed: Flags = np.empty(0, dtype=np.bool_)
        """(d,): which weights have the mixture as prior."""
        self._block: Array = np.zeros(2)
        self._observed: list[float] = []
        self._detector = self._new_detector()

    def learn_one(self, x: Mapping[str, float], y: bool | None, w: float = 1.0) -> None:
        """Learn one difference; ``y`` is whether the first side was preferred, ``w`` is its weight.

        None is a tie.
        """
        self._add_features(x)
        sign = 1.0 if y or y is None else -1.0
        self.learn_many_differences(sign * self._row(x)[None, :], np.array([float(w)]), np.array([y is None]))

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """P(first preferred to second), averaged over the uncertainty of the weights."""
        p = prob_of_gaussian(*self.logit_one(x))
        return {True: p, False: 1.0 - p}

    def logit_one(self, x: Mapping[str, float]) -> tuple[float, float]:
        """Posterior mean and variance of the logit, in nats and nats squared."""
        new, z_new = self._of_new(x)
        z = np.concatenate([self._in_units(self._row(x)), z_new])
        mean, cov = self._served(new)
        return float(mean @ z), float(z @ cov @ z)

    def learn_rows(
        self, X: Array, w: Array, ties: Flags, known: Ints, slots: Ints, frozen: Array, is_news: bool = True
    ) -> tuple[Array, list[int]]:
        p = np.empty(len(X))
        start, alarms = 0, []
        while start < len(X):
            start, mean_loss = laplace_rows(
                X, w, ties, known, slots, start, self._mean, self._cov, self._scale, self._reach,
                self._warm_up, self._largest, self._far, self._prior, self.prior_variance, self._mixed,
                self.sparsity, self.forgetting, self._block, self._nu, frozen, p,
                is_news,
            )  # fmt: skip
            if not math.isnan(mean_loss) and self._observe(mean_loss):
                alarms.append(start - 1)
        return p, alarms

    def _undo(self, z: Array, w: float, tie: bool) -> None:
        """Undo the step for the difference z (d,) in units, except for what the drift detector has seen."""
        undo_laplace(z, w, tie, self._mean, self._cov, self._nu, self.prior_variance)

    @property
    def weights(self) -> dict[str, float]:
        """Posterior mean per ``scales`` of a feature's difference."""
        return dict(zip(self._columns, self._served()[0].tolist(), strict=True))

    @property
    def covariance(self) -> Array:
        """Covariance (d, d) of ``weights``, in the order of ``features``."""
        return self._served()[1]

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on: JSON values, and copies of arrays."""
        return {
            "learner": self.name,
            "parameters": self._parameters,
            "features": list(self._columns),
            "mean": self._mean.copy(),
            "prior": self._prior.copy(),
            "covariance": self._cov.copy(),
            "mixed": self._mixed.astype(np.int64),
            **self._units(),
            "block": self._block.copy(),
            "observed": list(self._observed),
            "alarms": self.alarms,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Laplace:
        """The estimator with this state, bit for bit."""
        model = cls(**state["parameters"]).with_features(state["features"])
        d = len(model._columns)
        model._restore_units(state)
        # Evidence can only narrow the prior, but rounding may violate that in the last digits.
        widest = 1.001 * model.prior_variance
        model._mean = within(state["mean"], (d,), -LARGEST_WEIGHT, LARGEST_WEIGHT, "weights")
        model._prior = within(state["prior"], (d,), -LARGEST_WEIGHT, LARGEST_WEIGHT, "prior means")
        model._cov = within(state["covariance"], (d, d), -widest, widest, "covariances")
        within(np.linalg.eigvalsh(model._cov), (d,), -1e-6 * widest, np.inf, "variances")
        model._mixed = within(state["mixed"], (d,), 0.0, 1.0, "flags of the prior").astype(np.bool_)
        model._block = within(
            state["block"], (2,), 0.0, CLIP * (BLOCK + MAX_WEIGHT), "sums of the drift detector"
        )
        model.alarms = int(state["alarms"])
        for mean in state["observed"]:
            model._observed.append(mean)
            model._detector.update(_GAIN * mean)
        return model

    def _served(self, new: Sequence[str] = ()) -> tuple[Array, Array]:
        """Posterior mean (d,) and covariance (d, d), including features that are not known yet."""
        mean, prior = (np.concatenate([of, self._prior_means(new)]) for of in (self._mean, self._prior))
        cov = grown(self._cov, self.prior_variance, len(mean))
        mixed = np.concatenate([self._mixed, self._are_mixed(new)])
        weights, gained = posterior_mean(
            mean, cov, len(mean), prior, self.prior_variance, mixed, self.sparsity
        )
        return weights, posterior_covariance(cov, gained)

    def _are_mixed(self, new: Sequence[str]) -> Flags:
        return np.array([self.sparsity > 0.0 and is_critic(name) for name in new], dtype=np.bool_)

    def _set_prior(self, means: Array) -> None:
        self._mean, self._prior = means.copy(), means.copy()
        self._mixed[:] = False

    def _add_features(self, names: Iterable[str]) -> list[str]:
        new = super()._add_features(names)
        if new:
            self._cov = grown(self._cov, self.prior_variance, len(self._columns))
            self._mean = np.concatenate([self._mean, self._prior_means(new)])
            self._prior = np.concatenate([self._prior, self._prior_means(new)])
            self._mixed = np.concatenate([self._mixed, self._are_mixed(new)])
        return new

    def _observe(self, mean: float) -> bool:
        """Gives the detector one observation; True for an alarm."""
        if not self.drift_delta:
            return False
        before = self._level()
        self._observed.append(mean)
        if self._detector.update(_GAIN * mean):
            # Better predictions are no alarm, but either way the detector starts over.
            worse = self._level() > before
            self._watch_from([])
            if worse:
                self.alarms += 1
                self._cov[:] = self.prior_variance * np.eye(len(self._columns))
                self._mixed[:] = False
            return worse
        if len(self._observed) == _REMEMBERED:
            self._watch_from(self._observed[_REMEMBERED // 2 :])
        return False

    def _level(self) -> float:
        """The detector's estimate of the loss."""
        width = self._detector.get_width()
        return self._detector.get_total() / width if width else 0.0

    def _watch_from(self, observed: list[float]) -> None:
        self._observed = observed
        self._detector = self._new_detector()
        for mean in observed:
            self._detector.update(_GAIN * mean)

    def _new_detector(self) -> AdaptiveWindowing:
        return AdaptiveWindowing(
            delta=self.drift_delta or 0.5, clock=_CHECK, grace_period=5, min_window_length=5
        )
