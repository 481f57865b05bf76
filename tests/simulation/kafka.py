"""A Kafka in memory as the worker sees it: partitions, one group, keys that are compacted, fenced writers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.kafka.partitions import partition_of
from streams.messages.stored import Outgoing, StoredMessage

TRACE, PAIRS, VOTES = "trace", "pairs", "votes"
CLOSED, DEAD, SNAPSHOTS = "closed", "dead", "snapshots"
Place = tuple[str, int]
"""Topic and partition."""


class FencedOff(Exception):
    """A newer writer of the model has been opened."""


@dataclass(slots=True)
class SimKafka:
    """Messages in the order in which they were appended, and what the group has committed."""

    trace_partitions: int
    log: dict[Place, list[StoredMessage]] = field(default_factory=dict)
    committed: dict[Place, int] = field(default_factory=dict)
    generation: int = 0
    owner: dict[Place, int] = field(default_factory=dict)
    """Partition to the number of the worker that owns it in this generation."""
    epochs: dict[str, int] = field(default_factory=dict)
    """Model to the number of its newest writer."""
    opened_by: dict[str, int] = field(default_factory=dict)
    """Model to the worker whose writer that is."""
    timed_out: dict[str, int] = field(default_factory=dict)
    """Model to the newest of its writers that had a transaction open for too long."""
    now_ms: int = 0

    def partitions(self, topic: str) -> int:
        return self.trace_partitions if topic == TRACE else 1

    def places(self) -> list[Place]:
        """What the group shares."""
        return [*((TRACE, n) for n in range(self.trace_partitions)), (PAIRS, 0), (VOTES, 0)]

    def append(self, message: Outgoing) -> StoredMessage:
        partition = message.partition
        if partition is None:
            partition = partition_of(message.key or b"", self.partitions(message.topic))
        of_partition = self.log.setdefault((message.topic, partition), [])
        self.now_ms += 1
        stored = StoredMessage(
            topic=message.topic,
            partition=partition,
            offset=len(of_partition),
            timestamp_ms=self.now_ms,
            key=message.key,
            value=message.value,
            headers=message.headers,
        )
        of_partition.append(stored)
        return stored

    def read(self, place: Place, offset: int, n: int) -> list[StoredMessage]:
        return self.log.get(place, [])[offset : offset + n]

    def end(self, place: Place) -> int:
        return len(self.log.get(place, []))

    def all_of(self, topic: str) -> list[StoredMessage]:
        """By time."""
        messages = [m for place, log in self.log.items() if place[0] == topic for m in log]
        return sorted(messages, key=lambda m: m.timestamp_ms)

    def newest(self, key: bytes) -> StoredMessage | None:
        """What compaction leaves of a key of the snapshots topic."""
        return next((m for m in reversed(self.log.get((SNAPSHOTS, 0), [])) if m.key == key), None)

    def commit(self, generation: int, offsets: dict[Place, int]) -> bool:
        """False, and nothing happens, for a member of an earlier generation."""
        if generation != self.generation:
            return False
        self.committed |= offsets
        return True

    def rebalance(self, owner: dict[Place, int]) -> None:
        self.generation += 1
        self.owner = owner

    def open_writer(self, model: str, worker: int) -> int:
        self.epochs[model] = self.epochs.get(model, 0) + 1
        self.opened_by[model] = worker
        return self.epochs[model]

    def time_out(self, model: str, epoch: int) -> bool:
        """A transaction is given up, and its writer fenced off; False where it was already."""
        if epoch != self.epochs[model]:
            return False
        self.timed_out[model] = epoch
        return True

    def publish(self, model: str, epoch: int, messages: Sequence[Outgoing]) -> None:
        """One transaction. Raises FencedOff."""
        if epoch != self.epochs[model] or epoch == self.timed_out.get(model):
            raise FencedOff(model)
        for message in messages:
            self.append(message)
