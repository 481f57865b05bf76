"""Marks: codes for a missing score (−1, −999, …) among a critic's scores, and how to tell them from scores.

A score is a mark if it is one of ``MARKS`` and far outside the critic's other scores. Each critic has a row
of statistics on those, updated score by score, so the result does not depend on how a stream is split. If a
scale has a single number below 0 and it looks like a mark, the two cannot be distinguished, except for −1,
0 and 1.
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
"""Integers that stand for missing values in files. Without 0 and 1, which occur on every scale."""
MARKS_AMONG_FRACTIONS = (
    -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -10.0, -77.0, -88.0, -32768.0, -100000.0,
    32767.0, 65535.0, 100000.0,
)  # fmt: skip
"""More such integers, which are marks only if other scores are fractions: whole numbers could be a scale."""
_NEXT_BELOW_0, _NEXT_ABOVE_0 = -1.0, 999.0
_TIMES = 4.0
"""A mark is this many times farther from 0 than all other scores of its critic on that side of 0."""
_FRACTIONS_IN = 20.0
"""A scale has fractions if more than one of this many scores is a fraction."""

SCORES, FRACTIONS, TAKEN, OTHERS = range(4)
"""Fields of a row (12,): number of scores that are not in ``MARKS``, and how many of them were fractions;
number of scores taken for marks; number of scores in neither list."""
ENDS_OF_SCORES, ENDS_OF_OTHERS = 4, 8
"""Start of the two lowest and two highest values: of those scores, and of those in neither list."""
_LOWEST, _SECOND_LOWEST, _SECOND_HIGHEST, _HIGHEST = range(4)
NOTHING_SHOWN = (0.0, 0.0, 0.0, 0.0, *2 * (MAX_NUMBER, MAX_NUMBER, -MAX_NUMBER, -MAX_NUMBER))
"""The row of a critic without scores."""
UNKNOWN: ScoreRange = (MAX_NUMBER, -MAX_NUMBER, False)
"""The range of such a critic; none of its scores is a mark."""


def is_mark(score: float, lowest: float, highest: float, has_fractions: bool) -> bool:
    """Whether the score is a mark, given the ``ScoreRange`` of its critic's other scores.

    −1 is not a mark among whole numbers up to 1, because −1, 0 and 1 are a scale. No score is a mark if
    lowest > highest.
    """
    if _NEXT_BELOW_0 < score < _NEXT_ABOVE_0 or lowest > highest:
        return False
    if score not in MARKS and not (has_fractions and score in MARKS_AMONG_FRACTIONS):
        return False
    if score > 0.0:
        return score > _TIMES * highest
    if score == -1.0 and not has_fractions and highest < 2.0:
        return False
    return score < _TIMES * lowest


def is_listed(score: float) -> bool:
    """Whether it is one of ``MARKS``, which the row does not record."""
    return score in MARKS


def note_score(row: Row, score: float) -> None:
    """Records a score that is not in ``MARKS``; changes ``row`` (12,) in place.

    Ignores numbers that no message may carry, and NaN, which stands for a missing score.
    """
    if not abs(score) <= MAX_NUMBER:
        return
    row[SCORES] += 1.0
    if score != math.floor(score):
        row[FRACTIONS] += 1.0
    first = ENDS_OF_SCORES
    if score not in MARKS_AMONG_FRACTIONS:
        row[OTHERS] += 1.0
        first = ENDS_OF_OTHERS
    # Scores in neither list also count among the scores.
    for ends in range(ENDS_OF_SCORES, first + 1, ENDS_OF_OTHERS - ENDS_OF_SCORES):
        if score < row[ends + _LOWEST]:
            row[ends + _SECOND_LOWEST] = row[ends + _LOWEST]
            row[ends + _LOWEST] = score
        elif score < row[ends + _SECOND_LOWEST]:
            row[ends + _SECOND_LOWEST] = score
        if score > row[ends + _HIGHEST]:
            row[ends + _SECOND_HIGHEST] = row[ends + _HIGHEST]
            row[ends + _HIGHEST] = score
        elif score > row[ends + _SECOND_HIGHEST]:
            row[ends + _SECOND_HIGHEST] = score


def range_of(row: Row) -> ScoreRange:
    """The range in a row, without the lowest and the highest of more than two scores.

    So a single bad number sets no end. If scores are fractions, no number that may be a mark sets an end.
    """
    has_fractions = row[FRACTIONS] * _FRACTIONS_IN > row[SCORES]
    n, ends = row[SCORES], ENDS_OF_SCORES
    if has_fractions:
        n, ends = row[OTHERS], ENDS_OF_OTHERS
    if n > 2.0:
        return row[ends + _SECOND_LOWEST], row[ends + _SECOND_HIGHEST], has_fractions
    return row[ends + _LOWEST], row[ends + _HIGHEST], has_fractions


def without_marks(scores: Scores, ranges: Mapping[str, ScoreRange]) -> Scores:
    """The scores with marks replaced by null; ``ranges`` are by feature, as in a ``RewardSnapshot``."""
    marked = {
        name: None
        for name, score in scores.items()
        if score is not None and is_mark(score, *ranges.get(critic_feature(name), UNKNOWN))
    }
    return {**scores, **marked} if marked else scores
