"""How far to trust a judge that is not a person: as far as it has agreed with people.

A label that is wrong with probability e has (1 − 2e)² of the information of a correct one about a weight near
zero (the Fisher information of a logistic model with flipped labels). So a judge that agrees with people in a
fraction a of what both have judged gets the weight (2a − 1)², with a from a Beta posterior. Moreover, all
judges together may not outweigh the people: if a judge is always wrong in the same way, more of its labels
make the model more wrong, and no positive weight per label helps against ten thousand of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.messages.contracts import PreferencePair
from trainers.evidence.annotators import Annotators
from trainers.other_version import LARGEST_SUM, within
from trainers.pairs.judgements import PairJudgement, annotator_of, is_asked_for, judge_of, judgement_of
from trainers.pairs.seen import remember, tell_apart
from trainers.pairs.weights import SOURCE_WEIGHTS

AGREEING, DISAGREEING = 7.5, 2.5
"""Beta prior of a judge's agreement: three in four, which gives the weight .25, worth ten votes."""
LARGEST_WEIGHT = 0.5
"""Largest weight of a judge's label, however well it agrees."""
HEAD_START = 40.0
"""What all judges' labels may weigh in addition to the total weight of people and validators, in pairs."""
REMEMBERED = 2_000
"""Votes, and labels of judges, kept for comparison with later ones."""
JUDGES, JUDGES_OF_A_PAIR = 100, 8
"""Limits on judges that are distinguished, and on those whose labels of one pair await a person's."""


@dataclass(slots=True)
class ProxyAudit:
    """Agreement of each judge (``meta["judge"]`` of its pairs) with people, and total weights of labels."""

    agreed: dict[str, int] = field(default_factory=dict)
    disagreed: dict[str, int] = field(default_factory=dict)
    proxy_weight: float = 0.0
    trusted_weight: float = 0.0
    not_compared: int = 0
    """Labels of judges that were not kept, or not counted, because there were too many judges."""
    _votes: dict[str, bool] = field(default_factory=dict)
    _labels: dict[str, dict[str, bool]] = field(default_factory=dict)
    _names: dict[str, None] = field(default_factory=dict)
    """The first judges with a label, which are distinguished from each other."""

    def hear(self, judgement: PairJudgement) -> None:
        """Compare a person's or a judge's label with the other's labels of the same two candidates."""
        key, first, judge, _ = judgement
        if first is None:
            return
        if judge is None:
            for known, label in self._labels.pop(key, {}).items():
                self._count(known, label == first)
            remember(self._votes, key, first, REMEMBERED)
        elif not tell_apart(self._names, judge, JUDGES):
            self.not_compared += 1
        elif key in self._votes:
            self._count(judge, self._votes[key] == first)
        else:
            labels = self._labels.get(key, {})
            if judge in labels or len(labels) < JUDGES_OF_A_PAIR:
                remember(self._labels, key, {**labels, judge: first}, REMEMBERED)
            else:
                self.not_compared += 1

    def weigh(self, pair: PreferencePair, weight: float) -> float:
        """Counts a judge's label that would weigh ``weight`` as a person's; returns its actual weight."""
        given = weight * self.weight_of(judge_of(pair)) * room_left(self.proxy_weight, self.trusted_weight)
        self.proxy_weight += given
        return given

    def weight_of(self, judge: str) -> float:
        """(2a − 1)² with the posterior mean a of the judge's agreement; 0 if that is chance or worse."""
        agreed, disagreed = self.agreed.get(judge, 0), self.disagreed.get(judge, 0)
        a = (AGREEING + agreed) / (AGREEING + DISAGREEING + agreed + disagreed)
        return min(LARGEST_WEIGHT, max(0.0, 2.0 * a - 1.0) ** 2)

    def figures(self) -> dict[str, Any]:
        """Weight of each judge's label relative to a person's, with its reasons, for people to read."""
        judges = sorted({*self.agreed, *self.disagreed})
        return {
            "judges": {
                judge: {
                    "compared": self.agreed.get(judge, 0) + self.disagreed.get(judge, 0),
                    "agreed": self.agreed.get(judge, 0),
                    "weight": self.weight_of(judge),
                }
                for judge in judges
            },
            "weight_learnt": self.proxy_weight,
            "weight_limit": HEAD_START + self.trusted_weight,
            **({"not_compared": self.not_compared} if self.not_compared else {}),
        }

    def state(self) -> dict[str, Any]:
        """The arguments of ``from_state``, as JSON values."""
        return {
            "agreed": dict(self.agreed),
            "disagreed": dict(self.disagreed),
            "proxy_weight": self.proxy_weight,
            "trusted_weight": self.trusted_weight,
            "not_compared": self.not_compared,
            "names": list(self._names),
            "votes": dict(self._votes),
            "labels": {key: dict(labels) for key, labels in self._labels.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ProxyAudit:
        """The audit with this state."""
        given = [state["proxy_weight"], state["trusted_weight"]]
        proxy_weight, trusted_weight = within(given, (2,), 0.0, LARGEST_SUM, "weights").tolist()
        return cls(
            dict(state["agreed"]),
            dict(state["disagreed"]),
            proxy_weight,
            trusted_weight,
            int(state["not_compared"]),
            dict(state["votes"]),
            {key: dict(labels) for key, labels in state["labels"].items()},
            dict.fromkeys(map(str, state["names"])),
        )

    def _count(self, judge: str, agrees: bool) -> None:
        counts = self.agreed if agrees else self.disagreed
        counts[judge] = counts.get(judge, 0) + 1


def label_weights(pairs: Sequence[PreferencePair]) -> list[float]:
    """Each pair's own weight times that of its label, computed from all pairs together.

    Critics' labels weigh little among others, and fully if alone; a judge's as far as it agrees with people.
    """
    if {pair.label_source for pair in pairs} == {"critic"}:
        return [pair.weight for pair in pairs]
    audit, annotators = ProxyAudit(), Annotators()
    for pair in pairs:
        if (judgement := judgement_of(pair)) is not None and not is_asked_for(pair):
            audit.hear(judgement)
            annotators.hear(judgement)
    worth: dict[str, Callable[[PreferencePair], float]] = {
        "proxy": lambda pair: audit.weight_of(judge_of(pair)),
        "human": lambda pair: annotators.weight_of(annotator_of(pair)),
    }
    return [
        pair.weight
        * (worth[source](pair) if (source := pair.label_source) in worth else SOURCE_WEIGHTS[source])
        for pair in pairs
    ]


def room_left(proxy_weight: float, trusted_weight: float) -> float:
    """Factor on a judge's label; it falls from 1 to 0 as all judges' labels reach their limit."""
    return max(0.0, 1.0 - proxy_weight / (HEAD_START + trusted_weight))
