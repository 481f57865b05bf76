"""Puts critics on one scale: each critic's usual range in the training pairs becomes [0, 1].

Some critics score in [0, 1], others in tens, and a mean of such scores is dominated by the largest. One
outlier would also squeeze the other scores of its critic together. So each critic is clipped to its 1st to
99th percentile. Percentiles come from the training pairs alone, never from what is to be judged. Marks for
missing scores, such as −1 or −999, count as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from streams.messages.contracts import PairMessage, PreferencePair
from streams.messages.fields import ScoreRange
from trainers.bradley_terry.features import Scores
from trainers.bradley_terry.marks import NOTHING_SHOWN, UNKNOWN, is_listed, is_mark, note_score, range_of

PERCENTILES = (1.0, 99.0)
"""Percentiles over the sides of the training pairs; a side counts once per pair that it is in."""


@dataclass(frozen=True, slots=True)
class CriticRanges:
    """Lower and upper end of every critic's usual range, in the critic's own units.

    >>> ranges = CriticRanges({"clip": (20.0, 40.0)})
    >>> ranges.apply({"clip": 25.0, "another": 3.0})
    {'clip': 0.25}
    """

    ends: Mapping[str, tuple[float, float]]
    shown: Mapping[str, ScoreRange] = field(default_factory=dict)
    """Score range by critic, to recognise marks; scores of other critics are never marks."""

    @classmethod
    def of_pairs(cls, pairs: Iterable[PairMessage]) -> CriticRanges:
        """The 1st and 99th percentile of each critic over both sides of the pairs, without missing scores.

        A critic that never differs between them has no range and is left out, because it teaches nothing.
        """
        scores: dict[str, list[float]] = {}
        for pair in pairs:
            if isinstance(pair, PreferencePair):
                for side in (pair.chosen_critics, pair.rejected_critics):
                    for name, score in side.items():
                        if score is not None:
                            scores.setdefault(name, []).append(score)
        shown = {name: _shown(scores[name]) for name in sorted(scores)}
        ends = {
            name: np.percentile(_without_marks(scores[name], range_), PERCENTILES)
            for name, range_ in shown.items()
        }
        return cls(
            {name: (float(low), float(high)) for name, (low, high) in ends.items() if low < high}, shown
        )

    def apply(self, scores: Scores) -> dict[str, float | None]:
        """The scores in [0, 1], clipped; null and marks become null; critics without a range are left out."""
        return {name: self._apply_to(name, scores[name]) for name in sorted(scores.keys() & self.ends.keys())}

    def apply_to_pair(self, pair: PreferencePair) -> PreferencePair:
        """The pair with the scores of both sides in [0, 1]."""
        return replace(
            pair,
            chosen_critics=self.apply(pair.chosen_critics),
            rejected_critics=self.apply(pair.rejected_critics),
        )

    def _apply_to(self, name: str, score: float | None) -> float | None:
        if score is None or is_mark(score, *self.shown.get(name, UNKNOWN)):
            return None
        return _within(score, *self.ends[name])


def _shown(scores: Sequence[float]) -> ScoreRange:
    row = list(NOTHING_SHOWN)
    for score in scores:
        if not is_listed(score):
            note_score(row, score)
    return range_of(row)


def _without_marks(scores: Sequence[float], shown: ScoreRange) -> list[float]:
    return [score for score in scores if not is_mark(score, *shown)]


def _within(score: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (score - low) / (high - low)))
