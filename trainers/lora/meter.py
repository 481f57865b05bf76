"""Counters of the periodic training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from streams.messages.contracts import AdapterSnapshot


@dataclass(slots=True)
class Meter:
    """Plain numbers, for display elsewhere."""

    new_pairs: int = 0
    """Pairs that no training has used, at the last check."""
    is_training: bool = False
    newest: AdapterSnapshot | None = None
    """The last published snapshot, possibly from before this process."""
    published_s: float | None = None
    """Time of publishing, in seconds since 1970; None if it was before this process."""
    trainings: dict[str, int] = field(default_factory=lambda: {"active": 0, "shadow": 0})
    """Trainings finished here, by the gate of their adapters."""
    on_duration: Callable[[float], None] = lambda took_s: None
    """Called with each training's duration in seconds."""
    moved_s: float = field(default_factory=monotonic)
    """Time of the last answered check for pairs, or training step; on the monotonic clock."""

    def moves(self) -> None:
        """Call when Kafka has answered, or a step was made."""
        self.moved_s = monotonic()

    def ended(self, snapshot: AdapterSnapshot, took_s: float, now_s: float) -> None:
        """A training was finished and published at ``now_s``, in seconds since 1970."""
        self.newest, self.published_s = snapshot, now_s
        self.trainings[snapshot.gate] += 1
        self.on_duration(took_s)
