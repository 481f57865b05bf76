"""What the periodic training counts of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from streams.messages.contracts import AdapterSnapshot


@dataclass(slots=True)
class Meter:
    """Plain numbers, for whoever shows them."""

    new_pairs: int = 0
    """That no training has had, at the last look."""
    is_training: bool = False
    newest: AdapterSnapshot | None = None
    """What was published last, also before this process."""
    published_s: float | None = None
    """When, in seconds since 1970; None where that was before this process."""
    trainings: dict[str, int] = field(default_factory=lambda: {"active": 0, "shadow": 0})
    """Finished here, by the gate of what they gave."""
    on_duration: Callable[[float], None] = lambda took_s: None
    """Is told the seconds that each took."""
    moved_s: float = field(default_factory=monotonic)
    """When it last looked for pairs with an answer, or made a step of a training; of the monotonic clock."""

    def moves(self) -> None:
        """Kafka has answered, or a step was made."""
        self.moved_s = monotonic()

    def ended(self, snapshot: AdapterSnapshot, took_s: float, now_s: float) -> None:
        """A training was finished and published at ``now_s``, in seconds since 1970."""
        self.newest, self.published_s = snapshot, now_s
        self.trainings[snapshot.gate] += 1
        self.on_duration(took_s)
