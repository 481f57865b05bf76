"""Usual marks for a missing score (−1, −999, …) among a critic's scores, and what tells them from scores.

A score is a mark if it is one of ``MARKS`` and far outside of what its critic shows otherwise. That is kept
as a row of numbers for each critic, which grows score by score, so that it does not depend on how a stream is
cut. A scale whose only number below 0 is such a mark cannot be told from a mark, but for −1, 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from streams.messages.feature_names import critic_feature
from streams.messages.fields import ScoreRange
from streams.messages.limits import MAX_NUMBER

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from trainers.bradley_terry.features import Scores
    from trainers.compiled import Array

    Row = Array | MutableSequence[float]

MARKS = (
    -1.0, -9.0, -99.0, -100.0, -999.0, -1000.0, -9999.0, -99999.0, -999999.0, -1e6,
    999.0, 9999.0, 99999.0, 999999.0, 1e6,
)  # fmt: skip
"""Integers that stand for missing values in files. 0 and 1 are none: every scale has them."""
_NEXT_BELOW_0, _NEXT_ABOVE_0 = -1.0, 999.0
_TIMES = 4.0
"""A mark is so many times as far from 0 as anything else that its critic shows on that side of 0."""
_FRACTIONS_IN = 20.0
"""Of so many scores more than one is a fraction, on a scale that has them."""

SCORES, FRACTIONS, LOWEST, SECOND_LOWEST, SECOND_HIGHEST, HIGHEST, TAKEN = range(7)
"""What is where in a row (7,): how many scores there were that are not listed, and how many of them were
fractions; their two lowest and two highest; how many scores were taken for marks."""
NOTHING_SHOWN = (0.0, 0.0, MAX_NUMBER, MAX_NUMBER, -MAX_NUMBER, -MAX_NUMBER, 0.0)
"""The row of a critic that has shown nothing."""
UNKNOWN: ScoreRange = (MAX_NUMBER, -MAX_NUMBER, False)
"""The range of such a critic, none of whose scores is a mark."""


def is_mark(score: float, lowest: float, highest: float, has_fractions: bool) -> bool:
    """Whether the score stands for a missing one of a critic that shows this ``ScoreRange`` otherwise.

    −1 is none of whole numbers up to 1, since −1, 0 and 1 are a scale. Nothing is where lowest > highest.
    """
    if _NEXT_BELOW_0 < score < _NEXT_ABOVE_0 or lowest > highest or score not in MARKS:
        return False
    if score > 0.0:
        return score > _TIMES * highest
    if score == -1.0 and not has_fractions and highest < 2.0:
        return False
    return score < _TIMES * lowest


def is_listed(score: float) -> bool:
    """Whether it is one of ``MARKS``: a mark of a critic that shows 0 and fractions."""
    return is_mark(score, 0.0, 0.0, True)


def note_score(row: Row, score: float) -> None:
    """Take in a score that is not listed; ``row`` (7,) is changed in place.

    What no message may carry is passed over, as NaN for a missing one is.
    """
    if not abs(score) <= MAX_NUMBER:
        return
    row[SCORES] += 1.0
    if score != math.floor(score):
        row[FRACTIONS] += 1.0
    if score < row[LOWEST]:
        row[SECOND_LOWEST] = row[LOWEST]
        row[LOWEST] = score
    elif score < row[SECOND_LOWEST]:
        row[SECOND_LOWEST] = score
    if score > row[HIGHEST]:
        row[SECOND_HIGHEST] = row[HIGHEST]
        row[HIGHEST] = score
    elif score > row[SECOND_HIGHEST]:
        row[SECOND_HIGHEST] = score


def range_of(row: Row) -> ScoreRange:
    """What a row shows. Of more than two scores the lowest and the highest are left out.

    So a single number that is garbage sets no end.
    """
    has_fractions = row[FRACTIONS] * _FRACTIONS_IN > row[SCORES]
    if row[SCORES] > 2.0:
        return row[SECOND_LOWEST], row[SECOND_HIGHEST], has_fractions
    return row[LOWEST], row[HIGHEST], has_fractions


def without_marks(scores: Scores, ranges: Mapping[str, ScoreRange]) -> Scores:
    """The scores with null for what is a mark; ``ranges`` are by feature, as in a ``RewardSnapshot``."""
    marked = {
        name: None
        for name, score in scores.items()
        if score is not None and is_mark(score, *ranges.get(critic_feature(name), UNKNOWN))
    }
    return {**scores, **marked} if marked else scores
