"""The metrics and the health of ``serve text``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from streams.errors import BadInput
from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.messages.contracts import TextSnapshot
from streams.messages.stored import Outgoing, StoredMessage
from streams.metrics.health import Condition, Heartbeat
from streams.metrics.instruments import Instruments
from streams.metrics.lag import LagWatch, Reading
from streams.metrics.snapshots import SnapshotFigures, expose_snapshots
from trainers.text.processor import TextProcessor
from tribrain.serve.trainer_metrics import expose_lag

_LONGEST_TURN_S = 25.0
"""Longest healthy turn: it looks at the topic twice, for ten seconds each where the broker is away."""


class TextMetrics:
    """The metrics of one process."""

    def __init__(self, settings: Settings, instruments: Instruments) -> None:
        self.heartbeat = Heartbeat(_LONGEST_TURN_S)
        self.watch = LagWatch()
        self._topic = settings.pairs_topic
        self._instruments = instruments
        self._published: SnapshotFigures | None = None
        self._snapshots_published = 0
        self._pairs_learnt: Callable[[], int] = lambda: 0
        self._behind_since_s: float | None = None
        self._read_up_to_ms: dict[int, int] = {}
        """Partition to a time before which no message is left; Kafka stamps messages as they come."""
        instruments.health = self._condition
        expose_lag(instruments, self.watch, settings)

    def expose(self, processor: TextProcessor, found: TextSnapshot | None) -> None:
        """Expose what ``processor`` learns from now on; ``found`` is the snapshot that it goes on from."""
        begun = 0 if found is None else found.version
        self._pairs_learnt = lambda: max(0, processor.version - begun)
        if found is not None:
            self._published = SnapshotFigures.of(found, None)
        expose = self._instruments.expose
        expose("tribrain_pairs_total", self._pairs_learnt)
        expose(
            "tribrain_snapshot_unpublished_seconds",
            lambda: {("text", processor.model): self._behind_s()},
        )
        expose_snapshots(self._instruments, lambda: filter(None, [self._published]))

    def published(self, snapshot: Outgoing, took_s: float) -> None:
        """Record that ``snapshot`` was published, which took ``took_s`` seconds."""
        self._published = SnapshotFigures.read(snapshot.value, time.time())
        self._behind_since_s = None
        self._snapshots_published += 1
        self._instruments.histogram("tribrain_publication_seconds", "snapshot").observe(took_s)

    def measure(self, reader: TopicReader) -> None:
        """Measure the lag of all that the reader reads; to be called between two polls."""
        of = [(self._topic, number) for number in reader.numbers]
        now_ms = time.time_ns() // 1_000_000
        try:
            positions = reader.positions()
            ends = reader.ends()
        except BadInput:  # the broker is away
            self.watch.measured({}, of)
            return
        self._read_up_to_ms |= {number: now_ms for number, end in ends.items() if end <= positions[number]}
        readings = {
            (self._topic, number): Reading(position, ends[number], self._read_up_to_ms.get(number))
            for number, position in positions.items()
            if number in ends
        }
        self.watch.measured(readings, of)

    def learnt(self, processor: TextProcessor, messages: Sequence[StoredMessage]) -> None:
        """Record that these messages were handled."""
        self._read_up_to_ms |= {message.partition: message.timestamp_ms for message in messages}
        if self._behind_since_s is None and processor.pairs_since_snapshot:
            self._behind_since_s = time.monotonic()

    def facts(self) -> dict[str, Any]:
        """Counts of this process's work, and the newest version of the model that it knows."""
        newest = self._published
        return {
            "pairs_learnt": self._pairs_learnt(),
            "snapshots_published": self._snapshots_published,
            "newest_version": None if newest is None else newest.version,
            "gate": None if newest is None else "active" if newest.is_active else "shadow",
        }

    def _behind_s(self) -> float:
        since_s = self._behind_since_s
        return 0.0 if since_s is None else max(0.0, time.monotonic() - since_s)

    def _condition(self) -> Condition:
        if (hangs_for_s := self.heartbeat.hangs_for_s) is not None:
            return Condition(False, f"It has not looked for pairs for {hangs_for_s:.0f} s.")
        return self.watch.condition()
