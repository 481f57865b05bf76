"""How far behind a reader is, from its positions and the end offsets; pure, with the clock passed in.

The caller takes its positions first and requests the end offsets after that, so no lag is negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic, time

from streams.metrics.health import Condition

Partition = tuple[str, int]
"""Topic and number of a partition."""

STUCK_S = 20.0
"""A reader with lag whose position has not moved for this long is stuck."""
UNKNOWN_S = 20.0
"""How long the end offsets may stay unknown before Kafka counts as not answering."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A measurement of one partition."""

    position: int
    """Offset of the first message not handled yet."""
    end: int
    """Offset after the last readable message, requested after the position was taken."""
    stamp_ms: int | None = None
    """Timestamp of the message at the position, or a time that is not after it; None if unknown."""


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag of one partition."""

    messages: int
    seconds: float
    """Age of the oldest message not handled yet; an upper bound if only a time before it is known. If nothing
    is: how long it has been seen, a lower bound."""
    position: int
    since_s: float
    """When the position last moved, or the lag was last 0."""


class LagWatch:
    """The newest lag of each partition, and whether the reader makes progress."""

    def __init__(
        self, clock: Callable[[], float] = monotonic, wall_clock: Callable[[], float] = time
    ) -> None:
        self._clock, self._wall_clock = clock, wall_clock
        self._known: dict[Partition, Lag] = {}
        self._unknown: frozenset[Partition] = frozenset()
        self._has_begun = self._is_measured = False
        self._lost_s: float | None = None
        """The clock's time since which it has waited for partitions; None if it has them."""
        self._known_s = clock()
        """When the end offsets were last known, or none were requested."""

    def forget(self) -> None:
        """Partitions were assigned, perhaps the same ones again; measuring starts over."""
        self._known, self._unknown = {}, frozenset()
        self._has_begun, self._is_measured, self._lost_s = True, False, None
        self._known_s = self._clock()

    def lost(self) -> None:
        """The partitions were revoked, and none were assigned since; may be called repeatedly."""
        self._known, self._unknown = {}, frozenset()
        if self._lost_s is None:
            self._lost_s = self._clock()

    def measured(self, readings: Mapping[Partition, Reading], of: Iterable[Partition]) -> None:
        """Record the readings of the partitions ``of``; those without a reading are unknown."""
        now_s, now_ms = self._clock(), 1000.0 * self._wall_clock()
        known = {}
        for partition, reading in readings.items():
            messages = max(0, reading.end - reading.position)
            before = self._known.get(partition)
            moved = before is None or not messages or before.position != reading.position
            since_s = now_s if moved or before is None else before.since_s
            if not messages:
                seconds = 0.0
            elif reading.stamp_ms is None:
                seconds = now_s - since_s
            else:
                seconds = max(0.0, (now_ms - reading.stamp_ms) / 1000.0)
            known[partition] = Lag(messages, seconds, reading.position, since_s)
        self._known, self._unknown = known, frozenset(of) - known.keys()
        self._has_begun, self._is_measured, self._lost_s = True, True, None
        if known or not self._unknown:
            self._known_s = now_s

    @property
    def lags(self) -> Mapping[Partition, Lag]:
        """The lag of each partition where it is known."""
        return self._known

    @property
    def unknown(self) -> frozenset[Partition]:
        """Partitions whose lag is unknown."""
        return self._unknown

    def condition(self) -> Condition:
        """Whether the reader makes progress. A reader with nothing to read is healthy."""
        now_s = self._clock()
        if not self._has_begun:
            return Condition(False, "It has no partitions yet: it is joining its group.")
        if self._unknown and now_s - self._known_s > UNKNOWN_S:
            return Condition(False, f"Kafka has not answered for {now_s - self._known_s:.0f} s.")
        if self._lost_s is not None and now_s - self._lost_s >= STUCK_S:
            return Condition(False, f"It has had no partitions for {now_s - self._lost_s:.0f} s.")
        known = self._known
        for (topic, number), lag in known.items():
            if lag.messages and now_s - lag.since_s >= STUCK_S:
                return Condition(
                    False,
                    f"{topic}[{number}] has been stuck at offset {lag.position} for "
                    f"{now_s - lag.since_s:.0f} s; messages to read: {lag.messages}.",
                )
        behind = sum(lag.messages for lag in known.values())
        if behind:
            return Condition(True, f"It is reading; messages behind: {behind}.")
        if self._unknown or not self._is_measured:
            return Condition(True, "It is reading; how far behind it is will be known in a few seconds.")
        return Condition(True, "It has read everything.")
