"""Pairs as arrays, their files, and what a peer is. Imports NumPy and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Setting = Mapping[str, Any]
"""What a peer is told, by name."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """n pairs with d features, in the order in which they are learnt."""

    X: Array
    """(n, d): first − second side in the units that TriBrain weighs, 0 where a score is missing."""
    first: Ints
    """(n,): number of who made the first side."""
    second: Ints
    """(n,): the same of the second side."""
    wins: Flags
    """(n,): whether the first side is the preferred one; by chance half of them."""
    weights: Array
    """(n,): what each counts; the pairs of one task share a weight."""
    tasks: Ints
    """(n,): number of the pair's task, from 0 on."""
    features: tuple[str, ...]
    """(d,): what the columns of X are called."""
    makers: int
    """How many made any side, of pairs that are not among these, too."""
    rows: Sequence[Any] = field(default=())
    """(n,): each row of X as the peer reads it (``Peer.rows``); empty before it was asked."""

    def __len__(self) -> int:
        return len(self.X)

    def take(self, numbers: Ints | Flags, weights: Array | None = None) -> Pairs:
        """These of the pairs in this order, with other weights where there are any."""
        at = np.arange(len(self))[numbers]
        return replace(
            self,
            **{name: getattr(self, name)[at] for name in ("X", "first", "second", "wins", "tasks")},
            weights=self.weights[at] if weights is None else weights,
            rows=[self.rows[i] for i in at] if len(self.rows) else (),
        )

    def both_ways(self) -> Pairs:
        """Each pair, then each with its sides exchanged: what favours the first side gains nothing."""
        return replace(
            self,
            X=np.concatenate([self.X, -self.X]),
            first=np.concatenate([self.first, self.second]),
            second=np.concatenate([self.second, self.first]),
            wins=np.concatenate([self.wins, ~self.wins]),
            weights=np.tile(self.weights, 2),
            tasks=np.tile(self.tasks, 2),
        )

    @property
    def n_tasks(self) -> int:
        return int(self.tasks.max()) + 1

    def read_by(self, peer: Peer) -> Pairs:
        """With the rows as the peer reads them."""
        return replace(self, rows=peer.rows(self.X))

    def arrays(self, prefix: str) -> dict[str, Any]:
        """What ``from_arrays`` takes."""
        return {f"{prefix}{one.name}": getattr(self, one.name) for one in fields(self) if one.name != "rows"}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], prefix: str) -> Pairs:
        kept = {one.name: arrays[f"{prefix}{one.name}"] for one in fields(cls) if one.name != "rows"}
        features = tuple(kept["features"].tolist())
        return cls(**kept | {"features": features, "makers": int(kept["makers"])})


@dataclass(frozen=True, slots=True)
class Cell:
    """One split of one set, seen through one kind of features."""

    train: Pairs
    holdout: Pairs
    orders: Ints
    """(orders, n): rows of the training part in the orders in which all of them are learnt."""
    first: Ints
    """(early orders, 100): rows of the training part that come first where learning is watched early."""

    def save(self, path: Path) -> None:
        parts = self.train.arrays("train_") | self.holdout.arrays("holdout_")
        np.savez(path, orders=self.orders, first=self.first, **parts)

    @classmethod
    def load(cls, path: Path) -> Cell:
        with np.load(path) as file:
            arrays = dict(file)
        train, holdout = (Pairs.from_arrays(arrays, prefix) for prefix in ("train_", "holdout_"))
        return cls(train, holdout, arrays["orders"], arrays["first"])


def shared_weights(tasks: Ints) -> Array:
    """(n,): what each of these pairs counts: n pairs of one task, those of k candidates, as n·(2/k)^¾.

    As ``trainers.pairs.weights.weight_of_each``, which no peer can import.
    """
    numbers, counts = np.unique(tasks, return_counts=True)
    n = counts[np.searchsorted(numbers, tasks)]
    k = (1.0 + np.sqrt(1.0 + 8.0 * n)) / 2.0
    return np.asarray((2.0 / k) ** 0.75)


def sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


class NoAnswer(Exception):
    """The peer cannot learn these pairs, at the fault of neither."""


class Fitted(Protocol):
    """What has learnt."""

    def predict(self, pairs: Pairs) -> Array:
        """(n,): P(first preferred to second)."""
        ...


class Uncertain(Fitted, Protocol):
    """What says how sure it is."""

    def estimates(self) -> Array:
        """(k,): weights or ratings."""
        ...

    def stated(self) -> dict[str, Array]:
        """How it is stated to covariances (k, k), or to SDs (k,) where it gives no more."""
        ...


class Peer(Protocol):
    """One way to learn; ``settings[0]`` is its defaults, and of the others cross-validation chooses."""

    settings: tuple[Setting, ...]
    most_orders: int
    """How many orders it is given at most; 1 where the order is nothing to it."""
    most_early_orders: int
    uncertain: tuple[Setting, ...]
    """Those in which it says how sure it is; none where it never does."""
    bootstraps: int
    """How often its estimates are made anew for their SD."""

    def rows(self, X: Array) -> Sequence[Any]:
        """(n,): each row as the peer reads it, or nothing where it reads X."""
        ...

    def fit(self, pairs: Pairs, setting: Setting) -> Fitted:
        """Learn them in their order. Raises NoAnswer."""
        ...

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        """Learn rows by name at its defaults. Raises NoAnswer where it takes none."""
        ...
