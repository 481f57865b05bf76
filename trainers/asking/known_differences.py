"""Caches the differences of a pool's pairs: a pool changes little from vote to vote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from streams.messages.contracts import RewardSnapshot
from trainers.asking.pool import Pair, as_preference
from trainers.bradley_terry.beliefs import differences_for

if TYPE_CHECKING:
    from trainers.compiled import Array


class KnownDifferences:
    """Differences of the last pool, valid while models have the same features, references and ranges."""

    def __init__(self) -> None:
        self._made_for: tuple[Any, ...] = ()
        # Keyed by the identity of the candidates, which are immutable; keeping them keeps their ids valid.
        self._rows: dict[tuple[int, int], tuple[Pair, Array]] = {}

    def of(self, reward: RewardSnapshot, pairs: Sequence[Pair]) -> Array:
        """(n, d), as from ``differences_for``."""
        made_for = reward.feature_names, reward.references, reward.ranges
        if self._made_for != made_for:
            self._made_for, self._rows = made_for, {}
        keys = [(id(one), id(other)) for one, other in pairs]
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in self._rows}
        if missing:
            X = differences_for(reward, [as_preference(pair) for pair in missing.values()])
            made = {key: (pair, row) for (key, pair), row in zip(missing.items(), X, strict=True)}
            self._rows = {key: made[key] if key in made else self._rows[key] for key in keys}
        return np.array([self._rows[key][1] for key in keys]).reshape(len(keys), len(reward.feature_names))
