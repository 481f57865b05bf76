"""The range of each critic's scores so far, used to recognise marks for missing scores (``marks``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from streams.messages.feature_names import critic_feature
from streams.messages.fields import ScoreRange
from streams.messages.limits import MAX_COUNT, MAX_NUMBER, MAX_SCORES
from trainers.bradley_terry.marks import (
    ENDS_OF_OTHERS,
    ENDS_OF_SCORES,
    FRACTIONS,
    NOTHING_SHOWN,
    OTHERS,
    SCORES,
    TAKEN,
    range_of,
)
from trainers.compiled import Array
from trainers.other_version import within

_COUNTS, _ENDS = [SCORES, FRACTIONS, TAKEN, OTHERS], list(range(ENDS_OF_SCORES, len(NOTHING_SHOWN)))


class ShownScores:
    """A row of statistics for each of the first ``MAX_SCORES`` critics; scores of others are never marks."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.rows: Array = np.tile(NOTHING_SHOWN, (MAX_SCORES, 1))
        """(MAX_SCORES, 12)"""

    def number_of(self, critic: str) -> int:
        """The critic's row; −1 if there is no room for it."""
        number = self._numbers.get(critic)
        if number is None:
            number = len(self._numbers)
            if number == len(self.rows):
                return -1
            self._numbers[critic] = number
        return number

    @property
    def ranges(self) -> dict[str, ScoreRange]:
        """Score range by the critics' features, for critics with scores."""
        shown = zip(self._numbers, self.rows[: len(self._numbers)].tolist(), strict=True)
        return {critic_feature(critic): range_of(row) for critic, row in shown if row[SCORES]}

    @property
    def taken(self) -> dict[str, int]:
        """Critic's feature to the number of its scores taken for marks; none with 0."""
        counted = zip(self._numbers, self.rows[: len(self._numbers), TAKEN].tolist(), strict=True)
        return {critic_feature(critic): int(n) for critic, n in counted if n}

    def begun_from(self) -> ShownScores:
        """A copy of the score ranges, without the counts of marks."""
        begun = ShownScores()
        begun._numbers, begun.rows = dict(self._numbers), self.rows.copy()
        begun.rows[:, TAKEN] = 0.0
        return begun

    @classmethod
    def of_ranges(cls, critics: Iterable[str], ranges: Mapping[str, ScoreRange]) -> ShownScores:
        """Recognises marks of these critics by the ``ranges`` of a ``RewardSnapshot``."""
        shown = cls()
        for critic in critics:
            number, found = shown.number_of(critic), ranges.get(critic_feature(critic))
            if number >= 0 and found is not None:
                lowest, highest, has_fractions = found
                row = shown.rows[number]
                row[[SCORES, OTHERS, FRACTIONS]] = 1.0, 1.0, has_fractions
                for ends in (ENDS_OF_SCORES, ENDS_OF_OTHERS):
                    row[[ends, ends + 3]] = lowest, highest
        return shown

    def state(self) -> dict[str, Any]:
        """Argument of ``from_state``: JSON values, and a copy of an array."""
        return {"critics": list(self._numbers), "rows": self.rows[: len(self._numbers)].copy()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ShownScores:
        """The object with this state. Raises ValueError for an impossible state."""
        shown = cls()
        for critic in state["critics"]:
            shown.number_of(str(critic))
        n = len(state["critics"])
        if len(shown._numbers) != n:
            raise ValueError(f"found {n} critics; expected at most {MAX_SCORES}, each once")
        rows = within(state["rows"], (n, len(NOTHING_SHOWN)), -MAX_NUMBER, MAX_COUNT, "scores shown")
        within(rows[:, _COUNTS], (n, len(_COUNTS)), 0.0, MAX_COUNT, "counts of scores")
        within(rows[:, _ENDS], (n, len(_ENDS)), -MAX_NUMBER, MAX_NUMBER, "scores shown")
        shown.rows[:n] = rows
        return shown
