"""How far people agree with themselves and with each other, beyond chance.

Cohen's kappa (1960) is for two raters, Fleiss' kappa (1971) for a fixed number, and Krippendorff's alpha
(nominal) for any number. Intervals are percentiles of a bootstrap over pairs of videos; the share of left
answers has Wilson's (1927).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score

from streams.messages.votes import Vote
from trainers.evidence.shares import Share

Category = str
"""A vote's answer on a pair, independent of sides: ``first``, ``second`` or ``neither``."""
Ratings = list[dict[str, Category]]
"""One mapping per pair, of rater to category."""
_RESAMPLES = 300
_FEWEST = 5
"""Fewest pairs for an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """A coefficient, or why there is none."""

    n: int
    """Number of pairs it is computed from."""
    value: float | None
    """1 is perfect agreement, 0 is agreement by chance."""
    ci95: tuple[float, float] | None = None
    reason: str = ""
    """Explains an undefined value or interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rater:
    """One annotator."""

    name: str
    votes: int
    left: Share
    """Share of left answers among the votes for a side."""
    same: Share
    """Share of equal answers among the pairs that were judged twice."""
    self_kappa: Coefficient


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement over all votes of one dimension."""

    raters: tuple[Rater, ...]
    left: Share
    between: tuple[tuple[str, str, Coefficient], ...]
    """Cohen's kappa of every two annotators who share a pair."""
    fleiss: Coefficient
    alpha: Coefficient


def agreement(votes: Sequence[Vote]) -> Agreement:
    """The agreement in valid votes, in order of arrival; an annotator's first vote on a pair counts."""
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.annotator].append(vote)
    ratings = _ratings(votes)
    between = tuple(
        (a, b, _figure(shared, lambda rows, a=a, b=b: _cohen([(row[a], row[b]) for row in rows])))
        for a, b in combinations(sorted(by_rater), 2)
        if (shared := [row for row in ratings if a in row and b in row])
    )
    return Agreement(
        raters=tuple(_rater(name, of_one) for name, of_one in sorted(by_rater.items())),
        left=_left(votes),
        between=between,
        fleiss=_fleiss_figure(ratings),
        alpha=_figure([row for row in ratings if len(row) > 1], _alpha),
    )


def own_repeats(votes: Sequence[Vote]) -> list[tuple[Category, Category]]:
    """The first two answers in one annotator's votes on every pair that was judged twice."""
    answers: dict[Hashable, list[Category]] = defaultdict(list)
    for vote in votes:
        if (category := category_of(vote)) is not None:
            answers[frozenset((vote.left, vote.right)), vote.dimension].append(category)
    return [(each[0], each[1]) for each in answers.values() if len(each) > 1]


def category_of(vote: Vote) -> Category | None:
    """The vote's category; None if it has no answer on the pair."""
    if vote.answer in ("tie", "both_bad"):
        return "neither"
    if vote.answer not in ("left", "right"):
        return None
    better = vote.left if vote.answer == "left" else vote.right
    return "first" if better == min(vote.left, vote.right) else "second"


def _ratings(votes: Sequence[Vote]) -> Ratings:
    by_pair: dict[Hashable, dict[str, Category]] = defaultdict(dict)
    for vote in votes:
        if (category := category_of(vote)) is not None:
            by_pair[frozenset((vote.left, vote.right)), vote.dimension].setdefault(vote.annotator, category)
    return list(by_pair.values())


def _rater(name: str, votes: Sequence[Vote]) -> Rater:
    repeats = own_repeats(votes)
    return Rater(
        name=name,
        votes=len(votes),
        left=_left(votes),
        same=Share(k=sum(first == second for first, second in repeats), n=len(repeats)),
        self_kappa=_figure(repeats, _cohen, "no pair was asked again yet"),
    )


def _left(votes: Sequence[Vote]) -> Share:
    answers = Counter(vote.answer for vote in votes)
    return Share(k=answers["left"], n=answers["left"] + answers["right"])


def _cohen(answers: Sequence[tuple[Category, Category]]) -> float:
    first, second = zip(*answers, strict=True)
    if len({*first, *second}) == 1:
        return math.nan
    return float(cohen_kappa_score(first, second))


def _alpha(rows: Ratings) -> float:
    codes = {"first": 0.0, "second": 1.0, "neither": 2.0}
    if len({category for row in rows for category in row.values()}) == 1:
        return math.nan
    raters = sorted({rater for row in rows for rater in row})
    table = [[codes[row[rater]] if rater in row else np.nan for row in rows] for rater in raters]
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))


def _fleiss_figure(ratings: Ratings) -> Coefficient:
    sizes = Counter(len(row) for row in ratings if len(row) > 1)
    if not sizes:
        return Coefficient(n=0, value=None, reason="no pair was judged by two people yet")
    size = max(sizes, key=lambda raters: (sizes[raters], raters))
    figure = _figure([row for row in ratings if len(row) == size], fleiss_kappa)
    if len(sizes) == 1:
        return figure
    note = f"only of the pairs with {size} raters; it needs the same number for all"
    return Coefficient(n=figure.n, value=figure.value, ci95=figure.ci95, reason=figure.reason or note)


def fleiss_kappa(rows: Ratings) -> float:
    """Fleiss (1971), eq. 7: rows with the same number of raters; NaN if all answers are the same."""
    categories = sorted({category for row in rows for category in row.values()})
    counts_NK = np.array([[list(row.values()).count(k) for k in categories] for row in rows], float)
    raters = counts_NK[0].sum()
    observed = ((counts_NK**2).sum(axis=1) - raters) / (raters * (raters - 1))
    by_chance = float(((counts_NK.sum(axis=0) / counts_NK.sum()) ** 2).sum())
    return math.nan if by_chance == 1.0 else (float(observed.mean()) - by_chance) / (1.0 - by_chance)


def _figure(
    units: Sequence[object],
    coefficient: Callable[..., float],
    nothing: str = "no pair was judged by two people yet",
) -> Coefficient:
    if not units:
        return Coefficient(n=0, value=None, reason=nothing)
    value = coefficient(units)
    if math.isnan(value):
        return Coefficient(
            n=len(units), value=None, reason="all answers are the same, so chance explains them all"
        )
    if len(units) < _FEWEST:
        return Coefficient(n=len(units), value=value, reason=f"an interval needs {_FEWEST} pairs")
    generator = np.random.default_rng(0)
    drawn = [
        coefficient([units[i] for i in generator.integers(0, len(units), len(units))])
        for _ in range(_RESAMPLES)
    ]
    known = [each for each in drawn if not math.isnan(each)]
    low, high = np.quantile(known, [0.025, 0.975]) if known else (value, value)
    return Coefficient(n=len(units), value=value, ci95=(float(low), float(high)))
