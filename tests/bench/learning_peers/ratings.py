"""What those have in common that rate who made each side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.bench.learning_peers.pairs import Array, Flags, Ints, NoAnswer, Pairs, Setting, sigmoid


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings of which the difference is the logit that the first is preferred."""

    ratings: Array
    """(makers,)"""
    uncertainty: Mapping[str, Array] = field(default_factory=dict)
    """How it is stated to covariances (makers, makers), or to SDs (makers,) where it gives no more."""

    def predict(self, pairs: Pairs) -> Array:
        return sigmoid(self.ratings[pairs.first] - self.ratings[pairs.second])

    def estimates(self) -> Array:
        return self.ratings

    def stated(self) -> dict[str, Array]:
        return dict(self.uncertainty)


class Rater:
    """Reads no features."""

    most_orders, most_early_orders = 1, 8
    uncertain: tuple[Setting, ...] = ()
    bootstraps = 20

    def rows(self, X: Array) -> Sequence[Any]:
        return ()

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        raise NoAnswer("it takes no features")


def winners_and_losers(pairs: Pairs) -> tuple[Ints, Ints]:
    """(n,) each."""
    return np.where(pairs.wins, pairs.first, pairs.second), np.where(pairs.wins, pairs.second, pairs.first)
