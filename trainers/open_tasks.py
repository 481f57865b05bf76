"""The tasks that a learner is in the middle of, and those that it is done with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.messages.contracts import TRUSTED_SOURCES
from trainers.bradley_terry import LinearReward

REMEMBERED = 10_000
"""How many closed tasks, and how many pairs of people and judges, are known when they come again; the
snapshot's size depends on it."""


@dataclass(slots=True)
class OpenTask:
    """What the models were before any pair of this task was learnt, and how well they did on it."""

    served: LinearReward
    reference: LinearReward
    pair_ids: set[str] = field(default_factory=set)
    gain: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    """Pairs learnt per label source."""

    @property
    def n_trusted(self) -> int:
        return sum(n for source, n in self.counts.items() if source in TRUSTED_SOURCES)

    def state(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {
            "served": dict(self.served.coefficients),
            "reference": dict(self.reference.coefficients),
            "pair_ids": sorted(self.pair_ids),
            "gain": self.gain,
            "counts": dict(self.counts),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> OpenTask:
        """The task that had this state."""
        return cls(
            served=LinearReward(state["served"]),
            reference=LinearReward(state["reference"]),
            pair_ids=set(state["pair_ids"]),
            gain=state["gain"],
            counts=dict(state["counts"]),
        )


def note(known: dict[str, None], name: str) -> bool:
    """Remember a closed task, or a judged pair; False where it was known already."""
    hashed = task_hash(name)
    if hashed in known:
        return False
    known[hashed] = None
    forget_the_oldest(known)
    return True


def forget_the_oldest(known: dict[str, None]) -> None:
    """Keep the newest ``REMEMBERED``."""
    while len(known) > REMEMBERED:
        del known[next(iter(known))]


def task_hash(name: str) -> str:
    """64 bits of SHA-256: among 10,000 tasks two are alike with a chance of 3 in a million million."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]
