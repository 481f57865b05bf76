"""What the learners of differences share: features by name and by column, their units, rows and dicts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import numpy as np
from river import base

from streams.messages.feature_names import is_critic
from trainers.compiled import Array, Ints
from trainers.features import WARM_UP, reach_of, unit_of
from trainers.other_version import within

_NO_SLOTS: Array = np.empty((0, 0))
LARGEST_WEIGHT = 1e9
"""Of a feature, either sign; more than any pairs within their bounds can teach."""
_LARGEST_UNIT = 1e9
"""Differences are 2e6 at most."""


class LinearEstimator(base.Classifier):
    """A logistic model without an intercept of differences of scores, each per its unit.

    Any feature may be missing, new or gone in a row: a missing one contributes nothing, a new one starts with
    the prior. Differences beyond ``reach_of`` units among the first ``WARM_UP`` of a feature double its unit
    until they are within; later the unit stays.
    """

    prior_mean: float

    def _begin(self) -> None:
        """Know no feature."""
        self._columns: dict[str, int] = {}
        self._scale: Array = np.empty(0)
        self._reach: Array = np.empty(0)
        self._warm_up: Array = np.empty(0)
        """(d,): pairs of the feature in which its unit may still grow."""

    @property
    def _multiclass(self) -> bool:
        return False

    def with_features(self, names: Sequence[str]) -> Self:
        """Know these features, in this order, before any row; returns itself."""
        self._add_features(names)
        return self

    def learn_many_differences(self, X: Array, w: Array) -> Array:
        """Learn the rows of X (n, d) in their order; returns P (n,) of each before it was learnt.

        Rows are differences chosen − rejected, NaN where a critic is missing; columns are ``features``.
        The same bits as ``learn_one`` row by row. Raises ValueError for another number of columns.
        """
        n, d = X.shape
        if d != len(self._columns):
            raise ValueError(f"X has {d} columns; expected {len(self._columns)}, one for each feature")
        known, slots = np.full(n + 1, d, dtype=np.int64), np.full(n, -1, dtype=np.int64)
        X, w = np.ascontiguousarray(X, dtype=np.float64), np.ascontiguousarray(w, dtype=np.float64)
        p, _ = self.learn_rows(X, w, known, slots, _NO_SLOTS)
        return p

    @abstractmethod
    def learn_rows(
        self, X: Array, w: Array, known: Ints, slots: Ints, frozen: Array
    ) -> tuple[Array, list[int]]:
        """Learn rows as ``trainers.kernels`` describes them; all features of X must be known.

        Returns P (n,) of each row before it was learnt, and the rows that ended in a drift alarm.
        """

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self._columns)

    @property
    def scales(self) -> dict[str, float]:
        return dict(zip(self._columns, self._scale.tolist(), strict=True))

    def _row(self, x: Mapping[str, float]) -> Array:
        return np.array([x.get(name, math.nan) for name in self._columns], dtype=np.float64)

    def _add_features(self, names: Iterable[str]) -> list[str]:
        """Know these where they are new; returns those that were."""
        new = [name for name in names if name not in self._columns]
        if new:
            self._columns.update((name, len(self._columns) + at) for at, name in enumerate(new))
            self._scale = np.concatenate([self._scale, [unit_of(name) for name in new]])
            self._reach = np.concatenate([self._reach, [reach_of(name) for name in new]])
            self._warm_up = np.concatenate([self._warm_up, np.full(len(new), float(WARM_UP))])
        return new

    def _prior_means(self, names: Iterable[str]) -> Array:
        """That higher is better is taken of critics alone."""
        return np.array([self.prior_mean if is_critic(name) else 0.0 for name in names])

    def _restore_units(self, scale: Sequence[float], warm_up: Sequence[float]) -> None:
        d = len(self._columns)
        self._scale = within(scale, (d,), 1e-9, _LARGEST_UNIT, "scales")
        self._warm_up = within(warm_up, (d,), 0.0, WARM_UP, "pairs left of the warm-up")


def grown(matrix: Array, diagonal: float, d: int) -> Array:
    """``matrix`` in the corner of a (d, d) one that goes on with ``diagonal``."""
    larger = diagonal * np.eye(d)
    larger[: len(matrix), : len(matrix)] = matrix
    return larger
