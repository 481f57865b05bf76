"""What both kinds of delivery share: the interface, batches, limits, errors, and the inbox."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from streams.messages.stored import StoredMessage

Partition = tuple[str, int]
"""Topic and number of a partition; Faust's ``TP`` is a subtype."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages for an agent; those of each partition are in the order of their offsets."""

    assignment: int
    """The assignment of partitions in which it was read; the number increases with every rebalance."""
    messages: list[StoredMessage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a batch, and of the messages waiting in memory."""

    batch_messages: int = 1_000
    batch_bytes: int = 4 << 20
    """Limit on keys, values and headers. A larger message is a batch by itself."""
    waiting_bytes: int = 16 << 20
    """Limit per topic. Reading pauses at this size and resumes below half of it, so at most one more read
    comes on top. Messages of held partitions do not count."""


class Revoked(Exception):
    """The partitions were revoked: nothing was committed, and their next owner reads the messages again."""


class BrokerAway(Exception):
    """The broker did not answer in time. The commit may have happened; retrying it is safe."""


class Delivery(Protocol):
    """Delivers messages to one worker's agents, and commits its offsets."""

    @property
    def assignment(self) -> int:
        """The number of the current assignment; 0 before the first."""

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions that this worker owns now; empty between a revocation and the next assignment."""

    def batches(self, stream: Any) -> AsyncIterator[Batch]:
        """Batches for the agent of ``stream``, as long as the worker runs; none is empty."""

    async def commit(self, assignment: int, offsets: Mapping[Partition, int]) -> None:
        """Commit, for each partition, the offset of the next message to read after a restart.

        Raises Revoked if ``assignment`` is over or a partition does not belong to it, and BrokerAway if the
        broker does not answer within some seconds.
        """

    async def is_at_end(self, topic: str) -> bool:
        """Whether the agent has received every message of this worker's partitions of a topic.

        Messages behind an open transaction count as not received. Raises KafkaError or TimeoutError if the
        broker does not answer.
        """

    def first_waiting(self) -> dict[Partition, StoredMessage]:
        """The first message of each partition that was read but not passed to its agent."""

    async def progress(self) -> dict[Partition, tuple[int, int]]:
        """Partition to its position and its end for readers of committed messages, where both are known.

        Raises KafkaError or TimeoutError if the broker does not answer.
        """

    @property
    def waiting_bytes(self) -> int:
        """Size of the messages that were read but not passed to their agent."""

    def hold(self, partitions: Collection[Partition]) -> None:
        """Deliver nothing more of these partitions until ``release`` or the next assignment."""

    def release(self, partitions: Collection[Partition]) -> None:
        """Resume held partitions at their next message."""


class Inbox:
    """A queue of one topic's messages for their agent, in the order of arrival.

    ``on_room`` is called when reading may resume after ``is_full``.
    """

    def __init__(self, limits: Limits, on_room: Callable[[], None]) -> None:
        self._limits = limits
        self._on_room = on_room
        self._waiting: deque[_Chunk] = deque()
        self.waiting_bytes = 0
        self._held: defaultdict[Partition, deque[_Chunk]] = defaultdict(deque)
        self._arrived = asyncio.Event()
        self._error: Exception | None = None
        self.is_full = False

    def put(self, partition: Partition, messages: Iterable[StoredMessage]) -> None:
        """Add messages of one partition, even if the inbox is full."""
        for chunk in _chunks(partition, messages, self._limits):
            if partition in self._held:
                self._held[partition].append(chunk)
            else:
                self._waiting.append(chunk)
                self.waiting_bytes += chunk.size
        self._weigh()

    async def take(self) -> list[StoredMessage]:
        """The waiting messages, up to the limits of a batch; waits for the first one."""
        # Let other tasks run once per batch, even if this never has to wait.
        await asyncio.sleep(0)
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        limits, taken = self._limits, self._waiting.popleft()
        messages, size = taken.messages, taken.size
        while self._waiting:
            chunk = self._waiting[0]
            if len(messages) + len(chunk.messages) > limits.batch_messages:
                break
            if size + chunk.size > limits.batch_bytes:
                break
            messages.extend(self._waiting.popleft().messages)
            size += chunk.size
        self.waiting_bytes -= size
        self._weigh()
        return messages

    def fail(self, error: Exception) -> None:
        """No more messages will come: ``take`` raises ``error`` once the inbox is empty."""
        self._error = error
        self._arrived.set()

    def clear(self) -> None:
        """Drop all messages, including held ones."""
        self._waiting.clear()
        self._held.clear()
        self.waiting_bytes = 0
        self._weigh()

    def hold(self, partition: Partition) -> None:
        """Keep the partition's messages, waiting and future ones, until it is released."""
        aside = self._held[partition]
        aside.extend(chunk for chunk in self._waiting if chunk.partition == partition)
        self._waiting = deque(chunk for chunk in self._waiting if chunk.partition != partition)
        self.waiting_bytes = sum(chunk.size for chunk in self._waiting)
        self._weigh()

    def release(self, partition: Partition) -> None:
        """Queue the held messages in front of all others."""
        aside = self._held.pop(partition, deque())
        self._waiting.extendleft(reversed(aside))
        self.waiting_bytes += sum(chunk.size for chunk in aside)
        self._weigh()

    @property
    def first_of_each(self) -> dict[Partition, StoredMessage]:
        """The first waiting or held message of each partition that has one."""
        first: dict[Partition, StoredMessage] = {}
        for chunk in self._waiting:
            first.setdefault(chunk.partition, chunk.messages[0])
        for partition, aside in self._held.items():
            if aside:
                first[partition] = aside[0].messages[0]
        return first

    @property
    def is_empty(self) -> bool:
        """Whether no message is waiting or held."""
        return not self._waiting and not any(self._held.values())

    @property
    def held(self) -> Collection[Partition]:
        return self._held.keys()

    def _weigh(self) -> None:
        if self._waiting:
            self._arrived.set()
        if not self.is_full:
            self.is_full = self.waiting_bytes >= self._limits.waiting_bytes
        elif self.waiting_bytes < self._limits.waiting_bytes // 2:
            self.is_full = False
            self._on_room()


@dataclass(slots=True)
class _Chunk:
    """Messages of one partition that are delivered together."""

    partition: Partition
    messages: list[StoredMessage]
    size: int


def _chunks(partition: Partition, messages: Iterable[StoredMessage], limits: Limits) -> Iterable[_Chunk]:
    chunk = _Chunk(partition, [], 0)
    for message in messages:
        size = len(message.value) + len(message.key or b"")
        if message.headers:
            size += sum(len(name) + len(value) for name, value in message.headers)
        if chunk.messages and (
            chunk.size + size > limits.batch_bytes or len(chunk.messages) >= limits.batch_messages
        ):
            yield chunk
            chunk = _Chunk(partition, [], 0)
        chunk.messages.append(message)
        chunk.size += size
    if chunk.messages:
        yield chunk
