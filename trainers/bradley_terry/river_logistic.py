"""River's logistic regression on differences of scores, trained with online Newton steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from river import linear_model, optim
from river.utils import VectorDict

from trainers.bradley_terry.kernels import cut, grow_units, newton_rows, newton_step
from trainers.bradley_terry.linear import LARGEST_WEIGHT, LinearEstimator, grown
from trainers.bradley_terry.ties import DECIDED
from trainers.bradley_terry.undo import undo_newton
from trainers.compiled import Array, Flags, Ints
from trainers.other_version import within


class OnlineNewton(optim.base.Optimizer):
    """Online Newton step with importance weights, an optimizer for River's linear models.

    weights ← weights − lr·A⁻¹g, after A ← A + g gᵀ/w for the gradient g of a loss of weight w; A starts as
    ``prior_precision`` times the identity (Hazan, Agarwal and Kale 2007, "Logarithmic regret algorithms for
    online convex optimization"). g is w times the gradient of one label, so a label adds to A in proportion
    to w; in River's own ``optim.Newton``, which adds g gᵀ, it adds in proportion to w². ``importance`` is w
    of the next step, which River does not pass to its optimizers.
    """

    def __init__(self, lr: float, prior_precision: float) -> None:
        super().__init__(float(lr))
        self.prior_precision = prior_precision
        self.importance = 1.0
        self.columns: dict[str, int] = {}
        """Features, with their rows and columns in ``inverse``."""
        self.inverse: Array = np.empty((0, 0))
        """A⁻¹ (d, d), symmetric."""

    def know(self, names: Iterable[str]) -> None:
        """Add the new ones among these features."""
        new = [name for name in names if name not in self.columns]
        if new:
            old = len(self.columns)
            self.columns.update((name, old + at) for at, name in enumerate(new))
            self.inverse = grown(self.inverse, 1.0 / self.prior_precision, len(self.columns))

    def _step_with_dict(self, w: Any, g: Any) -> Any:
        self.know(g)
        gradient = np.zeros(len(self.columns))
        for name, value in g.items():
            gradient[self.columns[name]] = value
        weights = np.array([w[name] for name in self.columns], dtype=np.float64)
        newton_step(gradient, float(self.importance), self.learning_rate, weights, self.inverse)
        for name, weight in zip(self.columns, weights.tolist(), strict=True):
            w[name] = weight
        return w


class RiverLogistic(LinearEstimator):
    """River's LogisticRegression with ``OnlineNewton``, without an intercept, per ``unit_of`` a difference.

    ``lr`` and ``prior_precision`` are those of ``OnlineNewton``; the more precise the prior, the less the
    first pairs move the weights. ``prior_mean`` is the initial weight of a new critic: critics are assumed to
    be right until pairs contradict. ``LinearEstimator`` handles missing, new and large features.
    A pair of weight 0 changes nothing.

    >>> model = RiverLogistic()
    >>> for _ in range(50):
    ...     model.learn_one({"task": 0.5}, True)
    >>> round(model.predict_proba_one({"task": 0.5})[True], 2)
    0.77
    """

    name: ClassVar[str] = "river-logistic"

    def __init__(self, lr: float = 1.1, prior_precision: float = 55.0, prior_mean: float = 0.08) -> None:
        within([lr], (1,), 0.0, 1e3, "learning rates")
        within([prior_precision], (1,), 1e-3, 1e9, "prior precisions")
        within([prior_mean], (1,), -1e3, 1e3, "prior means")
        self.lr = lr
        self.prior_precision = prior_precision
        self.prior_mean = prior_mean
        self._begin()
        self._model = linear_model.LogisticRegression(
            optimizer=OnlineNewton(lr, prior_precision), intercept_lr=0.0
        )

    def learn_one(self, x: Mapping[str, float], y: bool | None, w: float = 1.0) -> None:
        """Learn one difference; ``y`` is whether the first side was preferred, ``w`` is its weight.

        None is a tie. After the first tie, the step is no longer River's own.
        """
        if w == 0.0:
            return
        self._add_features(x)
        row = self._row(x)
        if y is None or self.tie_nu:
            sign = 1.0 if y or y is None else -1.0
            self.learn_many_differences(sign * row[None, :], np.array([float(w)]), np.array([y is None]))
            return
        present = np.flatnonzero(np.isfinite(row))
        grow_units(row, self._scale, self._reach, self._warm_up, self._largest, self._far, present)
        to_learn = present[: cut(row, self._scale, self._reach, present)]
        learnt = np.full(len(row), np.nan)
        learnt[to_learn] = row[to_learn]
        self._newton.importance = w
        self._model.learn_one(self._for_river(learnt), y, w=w)
        if to_learn.size:
            self._nu[DECIDED] += w

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """P(first preferred to second)."""
        new, z_new = self._of_new(x)
        logit = self._model._raw_dot_one(self._for_river(self._row(x))) + float(
            self._prior_means(new) @ z_new
        )
        p = float(self._model.loss.mean_func(logit))
        return {True: p, False: 1.0 - p}

    def learn_rows(
        self, X: Array, w: Array, ties: Flags, known: Ints, slots: Ints, frozen: Array, is_news: bool = True
    ) -> tuple[Array, list[int]]:
        weights = np.array(list(self.weights.values()), dtype=np.float64)
        p = np.empty(len(X))
        newton_rows(
            X, w, ties, known, slots, self._newton.learning_rate, weights, self._newton.inverse, self._scale,
            self._reach, self._warm_up, self._largest, self._far, self._nu, frozen, p,
            is_news,
        )  # fmt: skip
        self._set_weights(weights.tolist())
        return p, []

    def _undo(self, z: Array, w: float, tie: bool) -> None:
        weights = np.array(list(self.weights.values()), dtype=np.float64)
        newton = self._newton
        undo_newton(
            z, w, tie, newton.learning_rate, weights, newton.inverse, self._nu, 1.0 / self.prior_precision
        )
        self._set_weights(weights.tolist())

    @property
    def weights(self) -> dict[str, float]:
        """Feature to weight, per ``scales`` of the feature's difference."""
        now = self._model.weights
        return {name: float(now[name]) for name in self._columns}

    @property
    def covariance(self) -> None:
        """None: this is a point estimate."""
        return None

    @property
    def alarms(self) -> int:
        """0: it has no drift detector."""
        return 0

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on: JSON values, and copies of arrays."""
        return {
            "learner": self.name,
            "parameters": self._parameters,
            "features": list(self.features),
            "weights": np.array(list(self.weights.values()), dtype=np.float64),
            "inverse": self._newton.inverse.copy(),
            **self._units(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RiverLogistic:
        """The estimator with this state, bit for bit. The order of features is part of the state."""
        model = cls(**state["parameters"]).with_features(state["features"])
        model._restore_units(state)
        d = len(state["features"])
        model._set_weights(
            within(state["weights"], (d,), -LARGEST_WEIGHT, LARGEST_WEIGHT, "weights").tolist()
        )
        widest = 1.001 / model.prior_precision
        model._newton.inverse = within(state["inverse"], (d, d), -widest, widest, "inverse curvatures")
        within(np.linalg.eigvalsh(model._newton.inverse), (d,), -1e-6 * widest, np.inf, "inverse curvatures")
        return model

    @property
    def _newton(self) -> OnlineNewton:
        optimizer: OnlineNewton = self._model.optimizer
        return optimizer

    def _set_prior(self, means: Array) -> None:
        self._set_weights(means.tolist())

    def _add_features(self, names: Iterable[str]) -> list[str]:
        new = super()._add_features(names)
        self._newton.know(new)
        for name, mean in zip(new, self._prior_means(new).tolist(), strict=True):
            self._model._weights[name] = mean
        return new

    def _set_weights(self, weights: Sequence[float]) -> None:
        self._model._weights = VectorDict(dict(zip(self._columns, weights, strict=True)))

    def _for_river(self, row: Array) -> dict[str, float]:
        """Every known feature in its order, 0 if missing, so that River's sums have a fixed order."""
        return dict(zip(self._columns, self._in_units(row).tolist(), strict=True))
