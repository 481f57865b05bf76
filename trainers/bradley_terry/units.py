"""How a difference of two scores is counted: in which unit, and up to which limit.

A weight refers to its feature's unit. It is ``UNIT`` where the usual differences are those of scores in
[0, 1]; for other critics it follows the sixth largest of their first sixteen differences, so that no single
number sets it. Units are round in binary.

These are plain functions for the kernels to compile.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from streams.messages.feature_names import is_indicator, is_interaction

if TYPE_CHECKING:
    from trainers.compiled import Array

UNIT = 0.25
"""A typical difference of two critic scores in [0, 1]. An indicator's ±1 is four such steps, because who made
a side may matter more than a critic's step."""
REACH = 4.0
"""Units that a critic's difference may span. One larger number could undo what a hundred pairs teach."""
LEARNT = 1.5
"""Multiple of the limit up to which a difference is learnt, as if it were at the limit."""
FAR = 16.0
"""Multiple of the limit. For scores in [0, 1] it is a difference of 16; codes are usually −99 or less."""
FIRST, RANK = 16, 6
"""The unit comes from the ``RANK``th largest of so many differences other than 0."""
USUAL, LARGE = UNIT, 1.0
"""From one to the other it is ``UNIT``. Below, it is that difference; above, half of it, since a critic that
says 0 or 1 keeps ``UNIT``."""
_SMALL_EXCEEDED, _EXCEEDED = (2.0, 1.0 / 16.0), (3.0, 1.0 / 8.0)
"""The unit no longer holds with more later differences beyond the reach than this number plus this share. The
first is for units below ``UNIT``: a critic may say .999 until it sees a fault. Fewer may be garbage."""
_SMALLEST = 1e-9
"""Smallest unit; a smaller difference is rounding."""
_STEPS = 8.0
"""Number of units between 1 and 2."""

SETTLING, SINCE, BEYOND, LARGEST = range(4)
"""Fields of a feature's row (9,): number of differences that its unit is being settled from; number since
then, and how many of those were beyond the reach; the ``RANK`` largest of the first. Later ``LARGEST`` is the
smallest beyond the reach."""
FIELDS = LARGEST + RANK

_INTERACTION_UNITS = 4.0
"""A critic's weight is similar in all contexts, so the prior variance is 16 times smaller than its own."""


def unit_of(name: str) -> float:
    """The difference that a feature's weight refers to until its unit is settled."""
    return _INTERACTION_UNITS * UNIT if is_interaction(name) else UNIT


def reach_of(name: str) -> float:
    """How many times what its weight refers to a feature's difference may span."""
    return REACH / _INTERACTION_UNITS if is_interaction(name) else REACH


def row_of(name: str) -> list[float]:
    """The row (9,) of a new feature. An indicator's differences are ±1, so its unit is known."""
    return [float(FIRST) if is_indicator(name) else 0.0, *[0.0] * (FIELDS - 1)]


def within_reach(difference: float, limit: float) -> float:
    """Clips a difference to ``limit`` in either direction.

    So no single number can reverse a model. A difference beyond ``FAR`` limits, and beyond those of scores in
    [0, 1], is hardly a measurement but most likely a code for a missing score (−999, say), and becomes NaN.
    """
    if abs(difference) > FAR * max(limit, REACH * UNIT):
        return math.nan
    return max(-limit, min(limit, difference))


def unit_after(difference: float, unit: float, row: Array) -> float:
    """Records a difference in the feature's ``row`` (9,), in place; returns its unit from now on."""
    size = abs(difference)
    if size < _SMALLEST:
        return unit
    if row[SETTLING] < FIRST:
        row[SETTLING] += 1.0
        for at in range(LARGEST, FIELDS):
            if size > row[at]:
                size, row[at] = row[at], size
        if row[SETTLING] < FIRST:
            return unit
        size = row[FIELDS - 1]
    else:
        row[SINCE] += 1.0
        if size <= REACH * unit:
            return unit
        row[BEYOND] += 1.0
        if row[BEYOND] > 1.0:
            size = min(size, row[LARGEST])
        row[LARGEST] = size
        spared, share = _SMALL_EXCEEDED if unit < UNIT else _EXCEEDED
        if row[BEYOND] <= spared + share * row[SINCE]:
            return unit
    row[SINCE:] = 0.0
    if USUAL <= size <= LARGE:
        return UNIT
    fraction, exponent = math.frexp(size / 2.0 if size > LARGE else size)
    return math.ldexp(math.ceil(fraction * 2.0 * _STEPS) / (2.0 * _STEPS), exponent)


def change_unit(
    j: int, times: float, weights: Array, covariance: Array, prior: float, variance: float
) -> None:
    """Makes the unit of feature j so many ``times`` larger, in the normal with these weights (d,); in place.

    What the pairs have taught stays the same per score. The prior is again N(``prior``, ``variance``), now in
    the new unit: a factor of more precision is multiplied in, or of less.
    """
    d = len(weights)
    weights[j] *= times
    for k in range(d):
        covariance[j, k] *= times
        covariance[k, j] *= times
    more = (1.0 - 1.0 / (times * times)) / variance
    shift = (1.0 - 1.0 / times) * prior / variance
    g = covariance[:, j].copy()
    grown = 1.0 + more * g[j]
    step = (shift - more * weights[j]) / grown
    root = math.sqrt(abs(more) / grown)
    sign = 1.0 if more > 0.0 else -1.0
    for k in range(d):
        if k == j:
            continue
        weights[k] += step * g[k]
        for other in range(d):
            if other != j:
                covariance[k, other] -= sign * ((root * g[k]) * (root * g[other]))
    # Divided rather than subtracted: for much larger units nothing would be left of the digits.
    weights[j] = (weights[j] + shift * g[j]) / grown
    for k in range(d):
        covariance[j, k] = covariance[k, j] = g[k] / grown
