"""The metrics and the health of the trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.kafka.settings import Settings
from streams.messages.contracts import AnySnapshot
from streams.messages.stored import Outgoing, StoredMessage
from streams.metrics.disks import Disk
from streams.metrics.health import Condition, Heartbeat
from streams.metrics.instruments import Instruments, Labels
from streams.metrics.lag import LagWatch
from streams.metrics.snapshots import SnapshotFigures, expose_snapshots
from streams.worker.app import LONGEST_TURN_S
from streams.worker.batches import Delivery
from streams.worker.outbox import Outbox
from streams.worker.pair_side import PairSide
from streams.worker.shell import Shell
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide
from trainers.processing.pair_processor import PairProcessors
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.vote_processor import VoteProcessor


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerParts:
    """The parts of a trainer whose figures are exposed."""

    former: TraceProcessor
    learner: PairProcessors
    of_votes: VoteProcessor
    trace: TraceSide
    pairs: PairSide
    votes: VoteSide
    shell: Shell


@dataclass(slots=True)
class _Published:
    """The newest snapshot of a model, decoded once, when it is first read."""

    value: bytes
    at_s: float
    figures: SnapshotFigures | None = None

    def read(self) -> SnapshotFigures:
        if self.figures is None:
            self.figures = SnapshotFigures.read(self.value, self.at_s)
        return self.figures


@dataclass(slots=True)
class TrainerMetrics:
    """The metrics of one trainer."""

    settings: Settings
    instruments: Instruments
    heartbeat: Heartbeat = field(default_factory=lambda: Heartbeat(LONGEST_TURN_S))
    watch: LagWatch = field(default_factory=LagWatch)
    kafka_disk: Disk | None = None
    """Kafka's fullest disk at the last look; None where it is not known."""
    snapshots_published: int = 0
    """Number of snapshots that this trainer has published."""
    _newest: dict[bytes, _Published] = field(default_factory=dict)
    _parts: TrainerParts | None = None

    def found(self, message: StoredMessage, snapshot: AnySnapshot) -> None:
        """Record a snapshot that was there before this trainer."""
        at_s = message.timestamp_ms / 1000.0
        self._newest[message.key or b""] = _Published(b"", at_s, SnapshotFigures.of(snapshot, at_s))

    def took_over(self, newest: Iterable[tuple[StoredMessage, AnySnapshot]]) -> None:
        """Record the newest snapshots once this trainer learns the pairs; none once another one does."""
        before, self._newest = self._newest, {}
        for message, snapshot in newest:
            self.found(message, snapshot)
            key = message.key or b""
            # It may have published since they were read.
            if key in before and before[key].read().version >= snapshot.version:
                self._newest[key] = before[key]

    def published(self, messages: Sequence[Outgoing], took_s: float) -> None:
        """Record that these messages were published, which took ``took_s`` seconds."""
        for message in messages:
            is_snapshot = (message.key or b"").startswith(b"bt:")
            self.snapshots_published += is_snapshot
            if is_snapshot:
                self._newest[message.key or b""] = _Published(message.value, time.time())
            what = "snapshot" if is_snapshot else "checkpoint"
            self.instruments.histogram("tribrain_publication_seconds", what).observe(took_s)

    def expose(self, parts: TrainerParts) -> None:
        """Expose the figures of ``parts``; to be called before ``connect``."""
        expose, watch = self.instruments.expose, self.watch
        self._parts = parts
        self.instruments.health = self.condition
        expose("tribrain_events_total", lambda: parts.trace.events_read)
        expose("tribrain_votes_total", lambda: parts.votes.votes_read)
        expose(
            "tribrain_pairs_formed_total",
            lambda: {("runs",): parts.former.pairs_formed, ("votes",): parts.of_votes.pairs_formed},
        )
        expose("tribrain_pairs_total", lambda: parts.pairs.pairs_learnt)
        expose("tribrain_updates_total", lambda: parts.pairs.updates)
        expose(
            "tribrain_dead_letters_total",
            lambda: {(kind,): count for kind, count in parts.shell.dead_letters.items()},
        )
        expose("tribrain_open_runs", lambda: len(parts.trace.held_runs))
        expose(
            "tribrain_snapshot_unpublished_seconds",
            lambda: {
                ("bt", model): age_s for model, age_s in parts.pairs.unpublished_s(time.monotonic()).items()
            },
        )
        expose("tribrain_disk_free_bytes", lambda: self._of_disk(lambda disk: disk.free))
        expose("tribrain_disk_size_bytes", lambda: self._of_disk(lambda disk: disk.size))
        expose_lag(self.instruments, watch, self.settings)
        expose_snapshots(self.instruments, lambda: [each.read() for each in list(self._newest.values())])

    def connect(self, parts: TrainerParts, delivery: Delivery, outbox: Outbox) -> None:
        """Expose the memory that messages take; to be called once the app is built."""
        self.instruments.expose(
            "tribrain_memory_bytes",
            lambda: {
                ("to be handled",): delivery.waiting_bytes,
                ("to be sent",): outbox.unsent_bytes,
                ("closed runs",): parts.trace.waiting_bytes,
                ("earlier iterations",): parts.former.waiting_bytes,
                ("writers",): parts.pairs.waiting_bytes,
                ("lookups",): parts.votes.waiting_bytes,
                ("candidates of votes",): parts.votes.missing_bytes,
                ("undoing",): parts.learner.kept_bytes,
            },
        )

    def facts(self) -> dict[str, Any]:
        """Counts of this trainer's work, and the newest version of each model; valid after ``expose``."""
        assert self._parts is not None
        parts = self._parts
        newest = [each.read() for each in self._newest.values()]
        return {
            "events_read": parts.trace.events_read,
            "votes_read": parts.votes.votes_read,
            "pairs_formed": parts.former.pairs_formed + parts.of_votes.pairs_formed,
            "pairs_learnt": parts.pairs.pairs_learnt,
            "dead_letters": {kind: count for kind, count in parts.shell.dead_letters.items() if count},
            "snapshots_published": self.snapshots_published,
            "newest_versions": {each.model: each.version for each in newest},
            "active_models": [each.model for each in newest if each.is_active],
        }

    def _of_disk(self, of: Callable[[Disk], float]) -> Mapping[Labels, float]:
        disk = self.kafka_disk
        return {} if disk is None else {("kafka",): of(disk)}

    def condition(self) -> Condition:
        """The health of the trainer."""
        if (hangs_for_s := self.heartbeat.hangs_for_s) is not None:
            return Condition(False, f"Its event loop has not turned for {hangs_for_s:.0f} s.")
        return self.watch.condition()


def expose_lag(instruments: Instruments, watch: LagWatch, settings: Settings) -> None:
    """Expose the lag that a reader's watch knows, by topics without their prefix."""

    def labels(topic: str, number: int) -> Labels:
        return topic.removeprefix(f"{settings.topic_prefix}."), str(number)

    def messages() -> Mapping[Labels, float]:
        return {labels(*partition): lag.messages for partition, lag in watch.lags.items()}

    def seconds() -> Mapping[Labels, float]:
        return {labels(*partition): lag.seconds for partition, lag in watch.lags.items()}

    instruments.expose("tribrain_lag_messages", messages)
    instruments.expose("tribrain_lag_seconds", seconds)
    instruments.expose("tribrain_lag_unknown_partitions", lambda: len(watch.unknown))
    instruments.expose("tribrain_partitions", lambda: len(watch.lags) + len(watch.unknown))
