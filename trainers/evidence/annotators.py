"""How far to trust each of several people: as far as they agree with each other on the same candidates.

Raters of one pair differ in how noisy they are, but hardly in taste. Let qᵢ be the chance that annotator i is
right, and let the errors of two annotators be independent. Then they agree with a chance aᵢⱼ for which 2aᵢⱼ −
1 = (2qᵢ − 1)(2qⱼ − 1) (Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates", for two
answers and one rate each). So if i agrees with the others in a fraction aᵢ, 2aᵢ − 1 is proportional to 2qᵢ −
1. The information in i's label, (2qᵢ − 1)², relates to that of an average annotator as

    ((2aᵢ − 1) / (2a − 1))²,

with the fraction a over everybody. That is the label's weight, 1 at most. Both count only agreement with
annotators who agree with each other. One who clearly answers against them (``trainers.evidence.opposed``)
would otherwise bring everybody's agreement down to chance, and nobody could be distinguished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.evidence.opposed import Between
from trainers.other_version import a_count
from trainers.pairs.judgements import PairJudgement
from trainers.pairs.seen import remember, tell_apart

USUAL, OF_ALL, OF_ONE = 0.85, 20.0, 5.0
"""Beta priors: overall agreement of .85, worth 20 comparisons, and each annotator's agreement equal to the
overall one, worth 5 comparisons."""
LEAST_AGREEMENT = 0.55
"""Least overall agreement. Below it annotators cannot be distinguished, and all weigh the same."""
REMEMBERED = 2_000
"""Pairs of candidates whose votes are kept for comparison with later ones."""
ANNOTATORS, ANNOTATORS_OF_A_PAIR = 1_000, 16
"""Limits on annotators that are distinguished, and on those per pair of candidates kept for comparison."""


FAIRLY_KNOWN, WELL_KNOWN = 256, 1_024
"""Comparisons after which new ones hardly lead to re-weighting, and after which none does."""
_SHOWN = 50
"""Number of annotators shown, those compared most."""


@dataclass(slots=True)
class Annotators:
    """Agreement of each annotator with the others. Anonymous votes are not compared."""

    agreed: dict[str, int] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    not_compared: int = 0
    """Votes that were not compared, because there were too many annotators."""
    _votes: dict[str, dict[str, bool]] = field(default_factory=dict)
    """The votes by candidates: annotator to whether the first candidate was preferred."""
    _names: dict[str, None] = field(default_factory=dict)
    """The first annotators to vote, who are distinguished from each other."""
    _between: Between = field(default_factory=Between)
    _opposed: dict[str, None] = field(default_factory=dict)
    """Annotators who were found to vote against the others at the last check."""
    _next_look: int = 0
    """Number of comparisons, each counted for both annotators, at which the next check is due."""
    _heard: int = field(init=False)
    """Number of comparisons so far, counted likewise."""
    _agreement: float = field(init=False)
    """Sum over all who are not opposed, including the prior; ``_comparisons`` likewise."""
    _comparisons: float = field(init=False)

    def __post_init__(self) -> None:
        self._heard = sum(self.compared.values())
        self._sum_up()

    def hear(self, judgement: PairJudgement) -> list[str]:
        """Compare a person's judgement with those of others on the same candidates; ignores ties.

        Returns the annotators with a first comparison, or with one that doubles their number, up to
        ``WELL_KNOWN``; and all, if others than before are now found to vote against the rest.
        """
        candidates, first, judge, annotator = judgement
        if judge is not None or first is None or not annotator:
            return []
        votes = self._votes.get(candidates, {})
        is_full = annotator not in votes and len(votes) >= ANNOTATORS_OF_A_PAIR
        if is_full or not tell_apart(self._names, annotator, ANNOTATORS):
            self.not_compared += 1
            return []
        doubled: dict[str, None] = {}
        for other, vote in votes.items():
            if other != annotator:
                doubled |= self._compare(annotator, other, agrees=vote == first)
        remember(self._votes, candidates, {**votes, annotator: first}, REMEMBERED)
        if self._heard >= self._next_look and self._finds_others_opposed():
            return list(self.compared)
        return list(doubled)

    def weight_of(self, annotator: str) -> float:
        """The weight of the annotator's labels, in [0, 1]."""
        if annotator not in self.compared:
            return 1.0
        if not self._tells_apart():
            return 1.0
        of_all = self._agreement / self._comparisons
        agreed, n = self._with_the_rest(annotator)
        of_one = (of_all * OF_ONE + agreed) / (OF_ONE + n)
        return float(min(1.0, max(0.0, (2.0 * of_one - 1.0) / (2.0 * of_all - 1.0)) ** 2))

    def is_opposed(self, annotator: str) -> bool:
        """Whether the annotator has been found to vote against the others."""
        return annotator in self._opposed and self._tells_apart()

    def figures(self) -> dict[str, Any]:
        """Label weight and comparisons of each annotator compared most often, for people to read."""
        return {
            name: {"compared": n, "agreed": self.agreed.get(name, 0), "weight": self.weight_of(name)}
            for name, n in sorted(self.compared.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
        }

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``, as JSON values."""
        return {
            "agreed": dict(self.agreed),
            "compared": dict(self.compared),
            "not_compared": self.not_compared,
            "names": list(self._names),
            "votes": {candidates: dict(votes) for candidates, votes in self._votes.items()},
            "between": self._between.state([*self._names]),
            "opposed": list(self._opposed),
            "next_look": self._next_look,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Annotators:
        """The annotators with this state."""
        agreed, compared = (
            {name: a_count(n) for name, n in state[which].items()} for which in ("agreed", "compared")
        )
        if any(n > compared.get(name, 0) for name, n in agreed.items()):
            raise ValueError("an annotator agreed more often than was compared")
        votes = {candidates: dict(of) for candidates, of in state["votes"].items()}
        names = list(map(str, state["names"]))
        between = (
            Between.from_state(state["between"], names)
            if "between" in state
            else Between.of_votes(votes.values())  # earlier states count no two annotators
        )
        annotators = cls(
            agreed,
            compared,
            a_count(state["not_compared"]),
            votes,
            dict.fromkeys(names),
            between,
            dict.fromkeys(map(str, state.get("opposed", ()))),
            a_count(state.get("next_look", 0)),
        )
        for name in compared:
            agreed_with, n = annotators._with_the_rest(name)
            if not 0 <= agreed_with <= n:
                raise ValueError(f"{name!r} agreed with others {agreed_with} times of {n}")
        return annotators

    def _tells_apart(self) -> bool:
        return self._agreement / self._comparisons > LEAST_AGREEMENT

    def _compare(self, one: str, other: str, *, agrees: bool) -> dict[str, None]:
        """Count a comparison. Returns the annotators whose number of comparisons it doubles."""
        self._between.add(one, other, agrees=agrees)
        self._heard += 2
        if one not in self._opposed and other not in self._opposed:
            self._comparisons += 2
            self._agreement += 2 * agrees
        doubled: dict[str, None] = {}
        for name in (one, other):
            self.compared[name] = n = self.compared.get(name, 0) + 1
            self.agreed[name] = self.agreed.get(name, 0) + agrees
            if n <= WELL_KNOWN and n.bit_count() == 1:
                doubled[name] = None
        return doubled

    def _finds_others_opposed(self) -> bool:
        """Look for annotators who vote against the others; due again after an eighth more comparisons.

        Returns whether others than before are found.
        """
        self._next_look = self._heard + self._heard // 8 + 1
        before, self._opposed = self._opposed, self._between.opposed()
        if self._opposed.keys() == before.keys():
            return False
        self._sum_up()
        return True

    def _with_the_rest(self, annotator: str) -> tuple[int, int]:
        """How often the annotator agreed, and was compared, with those who are not opposed."""
        agreed, compared = self._between.with_any(annotator, self._opposed)
        return self.agreed.get(annotator, 0) - agreed, self.compared[annotator] - compared

    def _sum_up(self) -> None:
        rest = [self._with_the_rest(name) for name in self.compared if name not in self._opposed]
        self._agreement = USUAL * OF_ALL + sum(agreed for agreed, _ in rest)
        self._comparisons = OF_ALL + sum(compared for _, compared in rest)
