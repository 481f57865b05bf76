"""The evidence for a reward model: its labels, how well it predicted them, and the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.messages.contracts import TRUSTED_SOURCES, LabelSource, PreferencePair
from trainers.compiled import Array
from trainers.evidence.annotators import Annotators
from trainers.evidence.gate import OPENS_AT, Gate
from trainers.evidence.prequential import PrequentialScores
from trainers.evidence.proxies import ProxyAudit
from trainers.other_version import a_count
from trainers.pairs.judgements import PairJudgement, annotator_of
from trainers.pairs.weights import SOURCE_WEIGHTS


@dataclass(slots=True)
class Evidence:
    """Counts and figures per label source, and the gate; learners keep it beside the model."""

    labels: dict[str, int] = field(default_factory=dict)
    """Pairs learnt per label source."""
    audit: ProxyAudit = field(default_factory=ProxyAudit)
    annotators: Annotators = field(default_factory=Annotators)
    gate: Gate = field(default_factory=Gate)
    prequential: dict[str, PrequentialScores] = field(default_factory=dict)
    ties: int = 0
    """Ties among the pairs learnt."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """Trusted labels that were learnt but are no evidence, per source: their task was already learnt from,
    the pair was shown because of a model's beliefs about it, or their annotator votes against the others."""
    heard_before: Annotators | None = None
    """All votes' information about the annotators, if it is known before the first is learnt."""
    critics_alone: bool = field(init=False)
    """Whether only critics' labels were learnt."""

    def __post_init__(self) -> None:
        self.critics_alone = self._has_critics_alone()

    @property
    def pairs(self) -> int:
        """Pairs learnt."""
        return sum(self.labels.values())

    def predicted(self, source: LabelSource, p: float, p_reference: float) -> None:
        """Adds the predictions of the model and its reference for a label, made before it was learnt."""
        self.prequential.setdefault(source, PrequentialScores()).add(p, p_reference)

    def predicted_many(
        self, sources: Sequence[LabelSource], counted: NDArray[np.bool_], p: Array, p_reference: Array
    ) -> None:
        """The same for n pairs in order, limited to those that are ``counted`` (n,)."""
        found: dict[str, list[int]] = {}
        for at in np.flatnonzero(counted).tolist():
            found.setdefault(sources[at], []).append(at)
        for source, rows in found.items():
            self.prequential.setdefault(source, PrequentialScores()).add_many(p[rows], p_reference[rows])

    def pass_over(self, source: LabelSource) -> None:
        """Counts a label that is learnt but is no evidence."""
        if source in TRUSTED_SOURCES:
            self.passed_over[source] = self.passed_over.get(source, 0) + 1

    def hear(self, judgement: PairJudgement | None, *, is_drawn: bool = True) -> list[str]:
        """Learns about judges and people from a pair; returns the result of ``Annotators.hear``.

        A pair that was not drawn at random shows how people agree relative to each other, because it is
        equally hard for all. It does not show how often a judge is right.
        """
        if judgement is None:
            return []
        if is_drawn:
            self.audit.hear(judgement)
        return self.annotators.hear(judgement)

    def learnt(self, pair: PreferencePair, weight: float) -> float:
        """Count a learnt pair that would weigh ``weight`` as a person's; see ``trust``."""
        source = pair.label_source
        self.labels[source] = self.labels.get(source, 0) + 1
        self.ties += pair.tie
        self.critics_alone = self.critics_alone and source == "critic"
        # The total weight of people and validators limits that of all judges.
        if source in TRUSTED_SOURCES:
            self.audit.trusted_weight += weight
        return self.trust(pair, weight)

    def undo(self, pair: PreferencePair, weight: float) -> None:
        """Stop counting a learnt pair that would weigh ``weight`` as a person's.

        Its prediction, and what it taught about judges and people, stay. The prediction was honest, and
        otherwise votes could be taken back until the figures please.
        """
        self.labels[pair.label_source] = max(0, self.labels.get(pair.label_source, 0) - 1)
        self.ties = max(0, self.ties - pair.tie)
        self.critics_alone = self._has_critics_alone()
        if pair.label_source in TRUSTED_SOURCES:
            self.audit.trusted_weight = max(0.0, self.audit.trusted_weight - weight)

    def _has_critics_alone(self) -> bool:
        return not any(n for source, n in self.labels.items() if source != "critic")

    def trust(self, pair: PreferencePair, weight: float) -> float:
        """The weight of a pair, relative to people's labels, that would weigh ``weight`` as a person's."""
        if pair.label_source == "proxy":
            return self.audit.weigh(pair, weight)
        if pair.label_source == "human":
            return weight * self.weight_of(annotator_of(pair))
        return weight * SOURCE_WEIGHTS[pair.label_source]

    def weight_of(self, annotator: str) -> float:
        """The weight of the annotator's labels, in [0, 1]."""
        return (self.heard_before or self.annotators).weight_of(annotator)

    def made_of(self) -> str:
        """The labels in words."""
        return ", ".join(f"{n} {source}" for source, n in self.labels.items() if n) or "no"

    def in_words(self) -> str:
        """The gate's evidence in words."""
        return f"evidence {self.gate.evidence:,.1f} after {self.gate.tasks} tasks, {OPENS_AT:g} needed"

    def metrics(self) -> dict[str, Any]:
        """The metrics of a snapshot: test-then-train figures, the judges' weights, and the gate."""
        trusted = PrequentialScores.of(
            self.prequential[source] for source in sorted(TRUSTED_SOURCES & self.prequential.keys())
        )
        return {
            "trusted": trusted.figures() | {"calibration": trusted.calibration()} if trusted.n else None,
            "by_label_source": {source: scores.figures() for source, scores in self.prequential.items()},
            **({"ties": self.ties} if self.ties else {}),
            **({"no_evidence": dict(self.passed_over)} if self.passed_over else {}),
            **({"proxies": self.audit.figures()} if "proxy" in self.labels else {}),
            **({"annotators": figures} if (figures := self.annotators.figures()) else {}),
            "gate": {
                "evidence": self.gate.evidence,
                "opens_at": OPENS_AT,
                "tasks": self.gate.tasks,
                "opened_at_pair": self.gate.opened_at_pair,
                "closed_times": self.gate.closed_times,
            },
        }

    def state(self) -> dict[str, Any]:
        """Argument of ``from_state``, stored in a learner's state: JSON values, and copies of arrays."""
        return {
            "labels": dict(self.labels),
            "audit": self.audit.state(),
            "annotators": self.annotators.state(),
            "gate": self.gate.state(),
            "ties": self.ties,
            "passed_over": dict(self.passed_over),
            "prequential": {source: scores.sums for source, scores in self.prequential.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Evidence:
        """The evidence with this state."""
        return cls(
            labels={source: a_count(n) for source, n in state["labels"].items()},
            audit=ProxyAudit.from_state(state["audit"]),
            annotators=Annotators.from_state(state["annotators"]),
            gate=Gate.from_state(state["gate"]),
            ties=a_count(state["ties"]),
            passed_over={source: a_count(n) for source, n in state["passed_over"].items()},
            prequential={
                source: PrequentialScores.from_sums(sums) for source, sums in state["prequential"].items()
            },
        )
