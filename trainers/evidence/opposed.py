"""Finds annotators who vote against the others, from how often every two annotators agreed.

An annotator who votes against the others lowers everybody's mean agreement, so the mean does not show who it
is. Annotators are removed one by one, each time the one whose agreement with those that remain is furthest
below chance, until nobody's is clearly below it. What remains agrees with itself: the greedy heuristic for
the largest group in a graph of signed edges (Charikar 2000, "Greedy approximation algorithms for finding
dense components in a graph", with signed weights).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from trainers.other_version import a_count

CLEARLY = 2.5
"""Standard errors above or below chance from which an agreement counts as more than chance."""
PAIRS_OF_ANNOTATORS = 5_000
"""Limit on pairs of annotators that are counted, the first that were compared."""
_Count = list[int]
"""Twice the agreements less the comparisons, and the comparisons: their difference from chance and its
variance."""


@dataclass(slots=True)
class Between:
    """How often every two annotators agreed, by both names, in either order."""

    _of: dict[str, dict[str, _Count]] = field(default_factory=dict)
    _pairs: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of_votes(cls, votes: Iterable[Mapping[str, bool]]) -> Between:
        """The counts of the votes on each two candidates, given by annotator."""
        between = cls()
        for of_both in votes:
            for (one, says), (other, answers) in combinations(of_both.items(), 2):
                between.add(one, other, agrees=says == answers)
        return between

    def add(self, one: str, other: str, *, agrees: bool) -> None:
        """Count a comparison; ignores annotators beyond the limit."""
        count = self._of.get(one, {}).get(other)
        if count is None:
            if len(self._pairs) >= PAIRS_OF_ANNOTATORS:
                return
            count = [0, 0]
            self._put(one, other, count)
        count[0] += 1 if agrees else -1
        count[1] += 1

    def with_any(self, annotator: str, others: Iterable[str]) -> tuple[int, int]:
        """How often the annotator agreed with the others, and was compared with them."""
        of_one = self._of.get(annotator, {})
        found = [of_one[other] for other in others if other in of_one]
        net, compared = sum(count[0] for count in found), sum(count[1] for count in found)
        return (net + compared) // 2, compared

    def opposed(self) -> dict[str, None]:
        """The annotators who clearly answer against the others.

        There are none unless more annotators clearly agree with each other than are opposed to them: of two
        equal parties, none can be called the wrong one.
        """
        rest = {
            name: [sum(column) for column in zip(*of.values(), strict=True)] for name, of in self._of.items()
        }
        opposed: dict[str, None] = {}
        while rest:
            lowest = min(rest, key=lambda name: _standard_errors(rest[name]))
            if _standard_errors(rest[lowest]) > -CLEARLY:
                break
            del rest[lowest]
            opposed[lowest] = None
            for other, (net, compared) in self._of[lowest].items():
                if other in rest:
                    rest[other][0] -= net
                    rest[other][1] -= compared
        agreeing = sum(_standard_errors(count) >= CLEARLY for count in rest.values())
        return opposed if agreeing > len(opposed) else {}

    def state(self, names: Sequence[str]) -> list[list[int]]:
        """The argument of ``from_state``: rows of two annotators' indices in ``names``, and two counts."""
        at = {name: i for i, name in enumerate(names)}
        return [[at[one], at[other], *self._of[one][other]] for one, other in self._pairs]

    @classmethod
    def from_state(cls, state: Iterable[Sequence[int]], names: Sequence[str]) -> Between:
        """The counts with this state. Raises ValueError, or LookupError for an unknown annotator."""
        between = cls()
        for i, j, net, compared in state:
            one, other, count = names[a_count(i)], names[a_count(j)], [int(net), a_count(compared)]
            if one == other or other in between._of.get(one, {}):
                raise ValueError(f"{one!r} and {other!r} are no two annotators, or stand there twice")
            if abs(count[0]) > count[1] or (count[0] + count[1]) % 2:
                raise ValueError(f"{one!r} and {other!r} cannot differ by {count[0]} in {count[1]} votes")
            between._put(one, other, count)
        return between

    def _put(self, one: str, other: str, count: _Count) -> None:
        """Store the same count under both orders of the names."""
        self._pairs.append((one, other))
        self._of.setdefault(one, {})[other] = count
        self._of.setdefault(other, {})[one] = count


def _standard_errors(count: Sequence[int]) -> float:
    """How far an agreement is above chance, in standard errors of an agreement by chance."""
    net, compared = count
    return net / math.sqrt(compared) if compared else 0.0
