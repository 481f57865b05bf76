"""Shared by the learners of differences: features by name and by column, their units, rows and dicts."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from river import base

from streams.messages.feature_names import is_critic
from streams.messages.limits import MAX_COUNT, MAX_TIE_NU
from trainers.bradley_terry.beliefs import in_units
from trainers.bradley_terry.features import WARM_UP, learnt_up_to, reach_of, unit_of, within_reach
from trainers.bradley_terry.reward import shrinkage
from trainers.bradley_terry.ties import NU
from trainers.compiled import Array, Flags, Ints
from trainers.other_version import LARGEST_SUM, within

_NO_SLOTS: Array = np.empty((0, 0))
LARGEST_WEIGHT = 1e9
"""Bound on a feature's weight, either sign; no pairs within their bounds can teach more."""
_LARGEST_UNIT = 1e9
"""Differences are at most 2e6."""


class LinearEstimator(base.Classifier):
    """A logistic model without an intercept for differences of scores, each in its unit.

    In any row, a feature may be missing, new or no longer used: a missing one contributes nothing, a new one
    starts at the prior. Among a feature's first ``WARM_UP`` differences, each one beyond ``reach_of`` units
    except the first makes its unit grow, at most twofold; later the unit stays. ``within_reach`` limits
    larger differences, and those beyond ``learnt_up_to`` are not learnt.
    """

    prior_mean: float
    _parameter_names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._parameter_names = tuple(inspect.signature(cls).parameters)

    @property
    @abstractmethod
    def weights(self) -> dict[str, float]: ...
    @property
    @abstractmethod
    def covariance(self) -> Array | None: ...

    def _begin(self) -> None:
        """Start without features."""
        self._columns: dict[str, int] = {}
        self._scale: Array = np.empty(0)
        self._reach: Array = np.empty(0)
        self._warm_up: Array = np.empty(0)
        """(d,): pairs left in which the feature's unit may still grow."""
        self._largest: Array = np.empty((2, 0))
        """(2, d): the largest and the second largest size of a difference."""
        self._far: Array = np.empty(0)
        """(d,): differences that were too far off to be learnt."""
        self._nu: Array = np.zeros(4)
        """State learnt from ties; see ``trainers.bradley_terry.ties``."""

    @property
    def _multiclass(self) -> bool:
        return False

    @property
    def _parameters(self) -> dict[str, Any]:
        """Like River's ``_get_params``, which inspects the signature again for each state."""
        return {name: getattr(self, name) for name in self._parameter_names}

    def with_features(self, names: Sequence[str]) -> Self:
        """Know these features, in this order, before any row; returns itself."""
        self._add_features(names)
        return self

    def begun_from(self) -> Self:
        """A new learner with these features and units, and with these weights as prior means."""
        begun = type(self)(**self._parameters).with_features(self.features)
        begun._begin_from_units(self)
        begun._set_prior(np.array(list(self.weights.values()), dtype=np.float64))
        return begun

    def learn_many_differences(self, X: Array, w: Array, ties: Flags | None = None) -> Array:
        """Learn the rows of X (n, d) in order; returns P (n,) of each before it was learnt.

        Rows are differences chosen − rejected, NaN where a critic is missing; columns are ``features``.
        ``ties`` (n,) flags ties; None means no ties. Gives the same bits as ``learn_one`` row by row. Raises
        ValueError for another number of columns.
        """
        n, d = X.shape
        if d != len(self._columns):
            raise ValueError(f"X has {d} columns; expected {len(self._columns)}, one per feature")
        known, slots = np.full(n + 1, d, dtype=np.int64), np.full(n, -1, dtype=np.int64)
        X, w = np.array(X, dtype=np.float64, order="C"), np.ascontiguousarray(w, dtype=np.float64)
        ties = np.zeros(n, dtype=np.bool_) if ties is None else np.ascontiguousarray(ties, dtype=np.bool_)
        p, _ = self.learn_rows(X, w, ties, known, slots, _NO_SLOTS)
        return p

    def predict_many_differences(self, features: Sequence[str], X: Array) -> Array:
        """P(chosen ≻ rejected) (n,) for rows X (n, d) with these columns, as in ``predict_proba_one``.

        Unknown columns are ignored.
        """
        at = [self._columns[name] for name in features if name in self._columns]
        limits = (self._reach * self._scale)[at]
        Z = in_units(X[:, [name in self._columns for name in features]], limits, self._scale[at])
        logits = Z @ np.array(list(self.weights.values()))[at]
        if self.covariance is not None:
            cov = self.covariance[np.ix_(at, at)]
            logits *= [shrinkage(v) for v in np.einsum("ij,jk,ik->i", Z, cov, Z).tolist()]
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))

    @abstractmethod
    def _set_prior(self, means: Array) -> None:
        """Start with these weights (d,)."""

    @abstractmethod
    def learn_rows(
        self, X: Array, w: Array, ties: Flags, known: Ints, slots: Ints, frozen: Array, is_news: bool = True
    ) -> tuple[Array, list[int]]:
        """Learn rows as ``trainers.bradley_terry.kernels`` describes; all features of X must be known.

        X is limited in place. Rows that were learnt before are no news: no unit grows, and nothing is counted
        again. Returns P (n,) of each row before it was learnt, and the rows that ended in a drift alarm.
        """

    def undo(self, row: Array, w: float, tie: bool) -> None:
        """Undo what learning the row (d,) with the weight w did, see ``trainers.bradley_terry.undo``.

        Unknown columns are ignored.
        """
        row = np.asarray(row, dtype=np.float64)[: len(self._columns)]
        row = np.concatenate([row, np.full(len(self._columns) - len(row), np.nan)])
        largest_learnt = [learnt_up_to(limit) for limit in (self._reach * self._scale).tolist()]
        is_learnt = np.isfinite(row) & (np.abs(row) <= largest_learnt)
        if w > 0.0 and is_learnt.any():
            self._undo(np.where(is_learnt, self._in_units(row), 0.0), w, tie)

    @abstractmethod
    def _undo(self, z: Array, w: float, tie: bool) -> None:
        """Undo the step for the difference z (d,) in units."""

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self._columns)

    @property
    def scales(self) -> dict[str, float]:
        return dict(zip(self._columns, self._scale.tolist(), strict=True))

    @property
    def tie_nu(self) -> float:
        """Davidson's ν; 0 if no tie was learnt."""
        return float(self._nu[NU])

    @property
    def far_off(self) -> dict[str, int]:
        """Feature to the number of its differences that were too far off to be learnt; none with 0."""
        counted = zip(self._columns, self._far.tolist(), strict=True)
        return {name: int(n) for name, n in counted if n}

    def _row(self, x: Mapping[str, float]) -> Array:
        return np.array([x.get(name, math.nan) for name in self._columns], dtype=np.float64)

    def _add_features(self, names: Iterable[str]) -> list[str]:
        """Add the new ones among these features; returns those."""
        new = [name for name in names if name not in self._columns]
        if new:
            old = len(self._columns)
            self._columns.update((name, old + at) for at, name in enumerate(new))
            self._scale = np.concatenate([self._scale, [unit_of(name) for name in new]])
            self._reach = np.concatenate([self._reach, [reach_of(name) for name in new]])
            self._warm_up = np.concatenate([self._warm_up, np.full(len(new), float(WARM_UP))])
            self._largest = np.concatenate([self._largest, np.zeros((2, len(new)))], axis=1)
            self._far = np.concatenate([self._far, np.zeros(len(new))])
        return new

    def _in_units(self, row: Array) -> Array:
        """(d,): the row (d,) limited and in units, 0 where a feature is missing."""
        return in_units(row, self._reach * self._scale, self._scale)

    def _of_new(self, x: Mapping[str, float]) -> tuple[list[str], Array]:
        """The features of x that are not known yet, and their differences (n,) limited and in units."""
        new = [name for name in x if name not in self._columns]
        counted = [within_reach(x[name], reach_of(name) * unit_of(name)) / unit_of(name) for name in new]
        return new, np.nan_to_num(np.array(counted))

    def _prior_means(self, names: Iterable[str]) -> Array:
        """Prior means of these features; only critics are assumed to be better when higher."""
        return np.array([self.prior_mean if is_critic(name) else 0.0 for name in names])

    def _units(self) -> dict[str, Any]:
        """The argument of ``_restore_units``: copies of arrays."""
        return {
            "scale": self._scale.copy(),
            "warm_up": self._warm_up.copy(),
            "largest": self._largest.copy(),
            "far": self._far.copy(),
            "nu": self._nu.copy(),
        }

    def _begin_from_units(self, other: LinearEstimator) -> None:
        self._scale, self._warm_up, self._largest, self._nu = (
            of.copy() for of in (other._scale, other._warm_up, other._largest, other._nu)
        )

    def _restore_units(self, state: Mapping[str, Any]) -> None:
        d = len(self._columns)
        self._scale = within(state["scale"], (d,), 1e-9, _LARGEST_UNIT, "scales")
        self._warm_up = within(state["warm_up"], (d,), 0.0, WARM_UP, "pairs left of the warm-up")
        self._largest = within(state["largest"], (2, d), 0.0, np.finfo(float).max, "largest differences")
        self._far = within(state["far"], (d,), 0.0, MAX_COUNT, "differences that were far off")
        self._nu = within(state["nu"], (4,), 0.0, LARGEST_SUM, "what is learnt of ties")
        within(self._nu[NU : NU + 1], (1,), 0.0, MAX_TIE_NU, "frequencies of ties")


def grown(matrix: Array, diagonal: float, d: int) -> Array:
    """``matrix`` in the corner of a (d, d) matrix whose other diagonal entries are ``diagonal``."""
    larger = diagonal * np.eye(d)
    larger[: len(matrix), : len(matrix)] = matrix
    return larger
