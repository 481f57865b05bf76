"""How far behind a reader is, from positions and ends; no Kafka client, and a clock that is passed in.

Whoever measures takes its positions first and asks for the ends after that: so no lag is below 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic, time

from streams.metrics.health import Condition

Partition = tuple[str, int]
"""Topic and number."""

STUCK_S = 20.0
"""A position that has not moved for so long, though there is lag, does not move."""
UNKNOWN_S = 20.0
"""So long may Kafka leave open where the topics end."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One partition, measured."""

    position: int
    """Offset of the first message that is not handled."""
    end: int
    """Behind the last message that can be read; asked for after the position was taken."""
    stamp_ms: int | None = None
    """Time stamp of the message at the position, where that is known."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What is known of one partition."""

    messages: int
    seconds: float
    """Age of the oldest message that is not handled. Where its time stamp is not known, how long it has been
    seen at least."""
    position: int
    since_s: float
    """When the position was last seen to move, or there was no lag."""


class LagWatch:
    """The newest lag of each partition, and whether the reader moves."""

    def __init__(
        self, clock: Callable[[], float] = monotonic, wall_clock: Callable[[], float] = time
    ) -> None:
        self._clock, self._wall_clock = clock, wall_clock
        self._known: dict[Partition, Lag] = {}
        self._unknown: frozenset[Partition] = frozenset()
        self._has_begun = self._is_measured = False
        self._lost_s: float | None = None
        """Since when it is to be given its partitions again."""
        self._known_s = clock()
        """When the ends were last known, or nothing was asked."""

    def forget(self) -> None:
        """Other partitions were given, or the same ones again; they are measured anew."""
        self._known, self._unknown = {}, frozenset()
        self._has_begun, self._is_measured, self._lost_s = True, False, None
        self._known_s = self._clock()

    def lost(self) -> None:
        """The partitions were taken away, and none were given since; may be said again and again."""
        self._known, self._unknown = {}, frozenset()
        if self._lost_s is None:
            self._lost_s = self._clock()

    def measured(self, readings: Mapping[Partition, Reading], of: Iterable[Partition]) -> None:
        """What was found of the partitions ``of``; those without a reading are unknown."""
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
        """Of each partition of which it is known."""
        return self._known

    @property
    def unknown(self) -> frozenset[Partition]:
        """Partitions of which it is not."""
        return self._unknown

    def condition(self) -> Condition:
        """Whether what there is to read is read. A reader that has nothing to read does well."""
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
                    f"{topic}[{number}] has stood at offset {lag.position} for {now_s - lag.since_s:.0f} s, "
                    f"with {lag.messages} messages to read.",
                )
        behind = sum(lag.messages for lag in known.values())
        if behind:
            return Condition(True, f"It reads, and is {behind} messages behind.")
        if self._unknown or not self._is_measured:
            return Condition(True, "It reads, and how far behind it is will be known in some seconds.")
        return Condition(True, "It has read all that there is.")
