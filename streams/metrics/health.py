"""Whether a process does its work, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Condition:
    """How a process is."""

    is_well: bool
    sentence: str
    """For people."""


Check = Callable[[], Condition]
"""May be asked in any thread, at any time, and waits for nothing."""


def doing_well() -> Condition:
    """Of a process of which nothing more is known than that it answers."""
    return Condition(True, "It answers.")


class Heartbeat:
    """When a loop last turned."""

    def __init__(self, longest_s: float, clock: Callable[[], float] = monotonic) -> None:
        """It hangs where it has not turned for ``longest_s`` seconds."""
        self.longest_s = longest_s
        self._clock = clock
        self._last_s = clock()

    def beat(self) -> None:
        """The loop turns."""
        self._last_s = self._clock()

    @property
    def hangs_for_s(self) -> float | None:
        """Seconds since it last turned, where those are too many."""
        age_s = self._clock() - self._last_s
        return age_s if age_s > self.longest_s else None
