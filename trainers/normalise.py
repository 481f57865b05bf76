"""Critics of other projects count on scales of their own; here each is brought to [0, 1]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from streams.contracts import PreferencePair
from trainers.bradley_terry import Scores

_LOW, _HIGH = 1.0, 99.0
"""Percentiles: a single stray score must not decide a critic's range."""


@dataclass(frozen=True, slots=True)
class CriticRanges:
    """Critic to the scores that count as 0 and as 1; what lies outside is clipped."""

    ranges: Mapping[str, tuple[float, float]]

    @classmethod
    def of_pairs(cls, pairs: Iterable[PreferencePair]) -> CriticRanges:
        """The 1st and 99th percentiles of each critic over both sides of the pairs."""
        known: dict[str, list[float]] = {}
        for pair in pairs:
            for side in (pair.chosen_critics, pair.rejected_critics):
                for name, score in side.items():
                    if score is not None:
                        known.setdefault(name, []).append(score)
        ranges = {}
        for name in sorted(known):
            low, high = np.percentile(known[name], [_LOW, _HIGH])
            # A critic that always says the same has no range; all its differences are 0 then.
            ranges[name] = (float(low), float(high) if high > low else float(low) + 1.0)
        return cls(ranges)

    def apply(self, scores: Scores) -> dict[str, float | None]:
        """The same scores in [0, 1]; critics without a range are left out."""
        return {
            name: None if score is None else self._unit(name, score)
            for name, score in scores.items()
            if name in self.ranges
        }

    def _unit(self, name: str, score: float) -> float:
        low, high = self.ranges[name]
        return (min(max(score, low), high) - low) / (high - low)
