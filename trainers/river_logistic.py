"""River's logistic regression on differences of scores, learnt by online Newton steps.

All kernels are in this file: numba keeps what it compiled until the file that calls a kernel changes, so a
kernel from elsewhere could be an older one. They are plain loops without BLAS, whose sums come out otherwise
on other CPUs, while a replayed model has to have the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from river import base

from trainers.compiled import Array, compiled
from trainers.features import UNIT, YOUTH, is_critic, reach_of, unit_of
from trainers.lean_river import without_sklearn

with without_sklearn():
    from river import linear_model, optim
    from river.utils import VectorDict


@compiled
def _newton_step(g, w, lr, weights, inverse):  # type: ignore[no-untyped-def]
    """One step with the gradient g (d,) of a loss of weight w; changes weights and inverse in place.

    A + g gᵀ/w has the inverse A⁻¹ − v vᵀ/(w + g·v) with v = A⁻¹g (Sherman and Morrison), and that times g is
    v·w/(w + g·v).
    """
    d = len(g)
    v = np.zeros(d)
    for k in range(d):
        for j in range(d):  # inverse is symmetric, so this is inverse @ g
            v[j] += inverse[k, j] * g[k]
    g_v = 0.0
    for j in range(d):
        g_v += g[j] * v[j]
    if g_v == 0.0:  # a weight of 0, or no difference: nothing to learn, and perhaps 0/0
        return
    shrink = 1.0 / (w + g_v)
    step = lr * w * shrink
    for j in range(d):
        weights[j] -= step * v[j]
        for k in range(d):
            inverse[j, k] -= shrink * (v[j] * v[k])


@compiled
def _grow_units(x, scale, reach, young):  # type: ignore[no-untyped-def]
    """Double the unit of young features until the difference x (d,) is within reach; NaN is missing."""
    for j in range(len(x)):
        if young[j] > 0.0 and not math.isnan(x[j]):
            young[j] -= 1.0
            while abs(x[j]) > reach[j] * scale[j]:
                scale[j] *= 2.0


@compiled
def _learn(X, w, lr, weights, inverse, scale, reach, young, p):  # type: ignore[no-untyped-def]
    """Rows of X (n, d), each a difference in favour of what happened; NaN is missing.

    Changes the state in place and writes to ``p`` what was predicted of each row before it was learnt. Does
    what River does for one row, in its order: the logit is summed from the first feature to the last.
    """
    d = X.shape[1]
    z = np.empty(d)
    g = np.empty(d)
    for i in range(len(X)):
        if w[i] != 0.0:
            _grow_units(X[i], scale, reach, young)
        logit = 0.0
        for j in range(d):
            z[j] = 0.0 if math.isnan(X[i, j]) else X[i, j] / scale[j]
            logit += weights[j] * z[j]
        if logit < -30.0:  # as River's sigmoid
            p[i] = 0.0
        elif logit > 30.0:
            p[i] = 1.0
        else:
            p[i] = 1.0 / (1.0 + math.exp(-logit))
        if logit > 18.0:  # as River's Log.gradient
            slope = -math.exp(-logit)
        elif logit < -18.0:
            slope = -1.0
        else:
            slope = -1.0 / (math.exp(logit) + 1.0)
        slope *= w[i]
        for j in range(d):
            g[j] = z[j] * slope
        _newton_step(g, w[i], lr, weights, inverse)


class OnlineNewton(optim.base.Optimizer):
    """Online Newton step with importance weights, an optimizer for River's linear models.

    weights ← weights − lr·A⁻¹g, after A ← A + g gᵀ/w for the gradient g of a loss of weight w; A begins as
    ``prior_precision`` times the identity (Hazan, Agarwal and Kale 2007, "Logarithmic regret algorithms for
    online convex optimization"). g is w times the gradient of one label, so what a label adds to A is in
    proportion to w; in River's own ``optim.Newton``, which adds g gᵀ, it is to w².

    ``importance`` is w of the next step, which River does not hand to its optimizers.
    """

    def __init__(self, lr: float, prior_precision: float) -> None:
        super().__init__(float(lr))
        self.prior_precision = prior_precision
        self.importance = 1.0
        self.columns: dict[str, int] = {}
        """Features, and their rows and columns in ``inverse``."""
        self.inverse: Array = np.empty((0, 0))
        """A⁻¹ (d, d), symmetric."""

    def know(self, names: Iterable[str]) -> list[str]:
        """Begin with these features where they are new; returns those that were."""
        new = [name for name in names if name not in self.columns]
        if new:
            old = len(self.columns)
            self.columns.update((name, old + at) for at, name in enumerate(new))
            inverse = np.eye(len(self.columns)) / self.prior_precision
            inverse[:old, :old] = self.inverse
            self.inverse = inverse
        return new

    def _step_with_dict(self, w: Any, g: Any) -> Any:
        self.know(g)
        gradient = np.zeros(len(self.columns))
        for name, slope in g.items():
            gradient[self.columns[name]] = slope
        weights = np.array([w[name] for name in self.columns], dtype=np.float64)
        _newton_step(gradient, float(self.importance), self.learning_rate, weights, self.inverse)
        for name, weight in zip(self.columns, weights.tolist(), strict=True):
            w[name] = weight
        return w


class RiverLogistic(base.Classifier):
    """River's LogisticRegression with ``OnlineNewton``, without an intercept, per ``unit_of`` a difference.

    ``lr`` and ``prior_precision`` are those of ``OnlineNewton``; the more precise the prior, the less the
    first pairs move. ``prior_mean`` is the weight that a new critic begins with: critics are taken to be
    right until pairs say otherwise. Missing, new and large features are treated as ``Laplace`` does. A pair
    that counts nothing changes nothing.

    >>> model = RiverLogistic()
    >>> for _ in range(50):
    ...     model.learn_one({"task": 0.5}, True)
    >>> round(model.predict_proba_one({"task": 0.5})[True], 2)
    0.77
    """

    name: ClassVar[str] = "river-logistic"

    def __init__(self, lr: float = 1.1, prior_precision: float = 55.0, prior_mean: float = 0.08) -> None:
        self.lr = lr
        self.prior_precision = prior_precision
        self.prior_mean = prior_mean
        self._scale: Array = np.empty(0)
        self._reach: Array = np.empty(0)
        self._young: Array = np.empty(0)
        self._model = linear_model.LogisticRegression(
            optimizer=OnlineNewton(lr, prior_precision), intercept_lr=0.0
        )

    @property
    def _multiclass(self) -> bool:
        return False

    def learn_one(self, x: Mapping[str, float], y: bool, w: float = 1.0) -> None:
        """Learn one difference; ``y`` says whether the first side was preferred, ``w`` what it counts."""
        if w == 0.0:
            return
        self._add_features(x)
        row = self._row(x)
        _grow_units(row, self._scale, self._reach, self._young)
        self._newton.importance = w
        self._model.learn_one(self._in_units(row), y, w=w)

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """P(first preferred to second)."""
        new = sum(value for name, value in x.items() if name not in self._newton.columns and is_critic(name))
        logit = self._model._raw_dot_one(self._in_units(self._row(x))) + self.prior_mean * new / UNIT
        p = float(self._model.loss.mean_func(logit))
        return {True: p, False: 1.0 - p}

    def learn_many_differences(self, X: Array, w: Array) -> Array:
        """Learn the rows of X (n, d) in their order; returns P (n,) of each before it was learnt.

        Rows are differences chosen − rejected, NaN where a critic is missing; columns are ``features``.
        The same bits as ``learn_one`` row by row. Raises ValueError for another number of columns.
        """
        if X.shape[1] != len(self._scale):
            raise ValueError(f"X has {X.shape[1]} columns; expected {len(self._scale)}, one for each feature")
        weights = np.array(list(self.weights.values()), dtype=np.float64)
        p = np.empty(len(X))
        _learn(
            np.ascontiguousarray(X, dtype=np.float64), np.ascontiguousarray(w, dtype=np.float64),
            self._newton.learning_rate, weights, self._newton.inverse, self._scale, self._reach, self._young,
            p,
        )  # fmt: skip
        self._set_weights(weights.tolist())
        return p

    def with_features(self, names: Sequence[str]) -> RiverLogistic:
        """Know these features, in this order, before any row; returns itself."""
        self._add_features(names)
        return self

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self._newton.columns)

    @property
    def weights(self) -> dict[str, float]:
        """Per ``scales`` of a feature's difference."""
        now = self._model.weights
        return {name: float(now[name]) for name in self._newton.columns}

    @property
    def scales(self) -> dict[str, float]:
        return dict(zip(self._newton.columns, self._scale.tolist(), strict=True))

    @property
    def covariance(self) -> None:
        """A point estimate has none."""
        return None

    @property
    def alarms(self) -> int:
        """It does not watch for drift."""
        return 0

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on, as JSON values; floats survive JSON exactly."""
        return {
            "learner": self.name,
            "parameters": self._get_params(),
            "features": list(self.features),
            "weights": list(self.weights.values()),
            "inverse": self._newton.inverse.tolist(),
            "scale": self._scale.tolist(),
            "young": self._young.tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RiverLogistic:
        """The estimator that had this state, to the bit. The order of features is part of the state."""
        model = cls(**state["parameters"]).with_features(state["features"])
        model._set_weights(state["weights"])
        d = len(state["features"])
        model._newton.inverse = np.array(state["inverse"], dtype=np.float64).reshape(d, d)
        model._scale = np.array(state["scale"], dtype=np.float64)
        model._young = np.array(state["young"], dtype=np.float64)
        return model

    @property
    def _newton(self) -> OnlineNewton:
        optimizer: OnlineNewton = self._model.optimizer
        return optimizer

    def _add_features(self, names: Iterable[str]) -> None:
        if new := self._newton.know(names):
            for name in new:
                self._model._weights[name] = self.prior_mean if is_critic(name) else 0.0
            self._scale = np.concatenate([self._scale, [unit_of(name) for name in new]])
            self._reach = np.concatenate([self._reach, [reach_of(name) for name in new]])
            self._young = np.concatenate([self._young, np.full(len(new), float(YOUTH))])

    def _set_weights(self, weights: Sequence[float]) -> None:
        self._model._weights = VectorDict(dict(zip(self._newton.columns, weights, strict=True)))

    def _row(self, x: Mapping[str, float]) -> Array:
        return np.array([x.get(name, math.nan) for name in self._newton.columns], dtype=np.float64)

    def _in_units(self, row: Array) -> dict[str, float]:
        """Every known feature in its order, 0 where it is missing; so River's sums have one order."""
        z = np.where(np.isnan(row), 0.0, row / self._scale)
        return dict(zip(self._newton.columns, z.tolist(), strict=True))
