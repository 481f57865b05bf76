"""A process's health, stated in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a process is healthy."""

    is_well: bool
    sentence: str
    """The reason, for people."""


Check = Callable[[], Condition]
"""May be called from any thread at any time; never blocks."""


def doing_well() -> Condition:
    """The condition of a process of which only one thing is known: it answers."""
    return Condition(True, "It answers.")


class Heartbeat:
    """Shows whether a loop still runs."""

    def __init__(self, longest_s: float, clock: Callable[[], float] = monotonic) -> None:
        """A loop without a beat for more than ``longest_s`` seconds hangs."""
        self.longest_s = longest_s
        self._clock = clock
        self._last_s = clock()

    def beat(self) -> None:
        """Call this once per iteration of the loop."""
        self._last_s = self._clock()

    @property
    def hangs_for_s(self) -> float | None:
        """Seconds since the last beat if the loop hangs, otherwise None."""
        age_s = self._clock() - self._last_s
        return age_s if age_s > self.longest_s else None
