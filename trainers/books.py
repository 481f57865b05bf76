"""What every learner of pairs keeps beside its model: what it has seen, how well it did, and the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.messages.contracts import TRUSTED_SOURCES, LabelSource, PreferencePair
from trainers.gate import OPENS_AT, Gate
from trainers.open_tasks import note, task_hash
from trainers.pair_weights import SOURCE_WEIGHTS
from trainers.pairing import LIVE_SOURCES
from trainers.proxies import ProxyAudit
from trainers.tally import Tally


@dataclass(slots=True)
class Books:
    """Known pairs and closed tasks, figures per label source, what judges are worth, and the evidence."""

    labels: dict[str, int] = field(default_factory=dict)
    """Pairs learnt per label source."""
    audit: ProxyAudit = field(default_factory=ProxyAudit)
    gate: Gate = field(default_factory=Gate)
    tallies: dict[str, Tally] = field(default_factory=dict)
    closed: dict[str, None] = field(default_factory=dict)
    judged: dict[str, None] = field(default_factory=dict)

    @property
    def critics_alone(self) -> bool:
        """Whether no label but critics' own was learnt."""
        return self.labels.keys() <= {"critic"}

    def is_closed(self, task: str) -> bool:
        return task_hash(task) in self.closed

    def admits(self, task: str, pair: PreferencePair) -> bool:
        """Whether a pair of this task is news; it is remembered where later ones are told by it.

        Labels that are made while a run goes on are over with the run. People and judges speak later, too.
        """
        if pair.label_source in LIVE_SOURCES:
            return not self.is_closed(task)
        return not pair.pair_id or note(self.judged, f"{task}\0{pair.pair_id}")

    def close(self, task: str) -> bool:
        """Remember that a task is over; False where that was known."""
        return note(self.closed, task)

    def predicted(self, source: LabelSource, p: float, p_reference: float) -> None:
        """What the model and its reference said of what happened, before it was learnt."""
        self.tallies.setdefault(source, Tally()).add(p, p_reference)

    def hear(self, pair: PreferencePair) -> None:
        """What a person or a judge says, for what judges are worth."""
        self.audit.hear(pair)

    def count_trusted(self, pair: PreferencePair, weight: float) -> None:
        """What people and validators weigh together is the limit of what all judges may."""
        if pair.label_source in TRUSTED_SOURCES:
            self.audit.trusted_weight += weight

    def trust(self, pair: PreferencePair, weight: float) -> float:
        """What a pair counts, beside labels of people, that would count ``weight`` as a person's."""
        if pair.label_source == "proxy":
            return self.audit.weigh(pair, weight)
        return weight * SOURCE_WEIGHTS[pair.label_source]

    def learnt(self, source: LabelSource) -> None:
        self.labels[source] = self.labels.get(source, 0) + 1

    def bet(self, mean_gain: float) -> None:
        """One task for the gate: nats per pair by which the model was better than its reference."""
        self.gate.bet(mean_gain, pairs_learnt=sum(self.labels.values()))

    def made_of(self) -> str:
        """The labels in words."""
        return ", ".join(f"{n} {source}" for source, n in self.labels.items()) or "no"

    def evidence(self) -> str:
        """The gate's evidence in words."""
        return f"evidence {self.gate.evidence:,.1f} after {self.gate.tasks} tasks, {OPENS_AT:g} needed"

    def metrics(self) -> dict[str, Any]:
        """For a snapshot: the test-then-train figures, what judges count, and the gate."""
        trusted = Tally.of(self.tallies[source] for source in sorted(TRUSTED_SOURCES & self.tallies.keys()))
        return {
            "trusted": trusted.figures() if trusted.n else None,
            "by_label_source": {source: tally.figures() for source, tally in self.tallies.items()},
            **({"proxies": self.audit.figures()} if "proxy" in self.labels else {}),
            "gate": {
                "evidence": self.gate.evidence,
                "opens_at": OPENS_AT,
                "tasks": self.gate.tasks,
                "opened_at_pair": self.gate.opened_at_pair,
                "closed_times": self.gate.closed_times,
            },
        }

    def state(self, open_tasks: Mapping[str, Any]) -> dict[str, Any]:
        """All but the labels, with the open tasks of the learner among it; JSON values."""
        return {
            "audit": self.audit.state(),
            "gate": self.gate.state(),
            "tallies": {source: tally.state() for source, tally in self.tallies.items()},
            "open": open_tasks,
            "closed": list(self.closed),
            **({"judged": list(self.judged)} if self.judged else {}),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], labels: Mapping[str, int]) -> Books:
        """The books that had this state, which may stand among the learner's own."""
        return cls(
            labels=dict(labels),
            audit=ProxyAudit.from_state(state["audit"]),
            gate=Gate.from_state(state["gate"]),
            tallies={source: Tally.from_state(tally) for source, tally in state["tallies"].items()},
            closed=dict.fromkeys(state["closed"]),
            judged=dict.fromkeys(state.get("judged", ())),
        )
