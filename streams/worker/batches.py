"""What the two ways of delivery have in common: a batch, its limits, its errors, and where batches wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from streams.messages.stored import StoredMessage

Partition = tuple[str, int]
"""Topic and number; Faust's ``TP`` is one, too."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What waited for an agent: the messages of each partition in the order of their offsets."""

    assignment: int
    """Which assignment of partitions it was read in; counts up with every rebalance."""
    messages: list[StoredMessage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is given at once, and how much waits in memory."""

    batch_messages: int = 1_000
    batch_bytes: int = 4 << 20
    """Of keys, values and headers. A message that is larger is given alone."""
    waiting_bytes: int = 16 << 20
    """Of one topic. Reading it pauses from here on, and goes on below a half; so there is at most one more
    read on top. What waits in partitions that are held does not count."""


class Revoked(Exception):
    """The partitions were taken away: nothing was committed, and their next owner reads them again."""


class BrokerAway(Exception):
    """The broker did not answer in time. The commit may have happened, and may be tried again."""


class Delivery(Protocol):
    """The way of messages to one worker's agents, and of its offsets back."""

    @property
    def assignment(self) -> int:
        """The number of the present assignment; 0 before the first."""

    @property
    def partitions(self) -> frozenset[Partition]:
        """What this worker owns now; empty from a revocation to the next assignment."""

    def batches(self, stream: Any) -> AsyncIterator[Batch]:
        """All that waits for the agent of ``stream``, as long as the worker runs. Gives no empty batch."""

    async def commit(self, assignment: int, offsets: Mapping[Partition, int]) -> None:
        """Commit, for each partition, the offset of the next message to read after a restart.

        Raises Revoked where ``assignment`` is over or a partition is not of it, BrokerAway where the broker
        does not answer within some seconds.
        """

    async def is_at_end(self, topic: str) -> bool:
        """Whether the broker answers and has nothing of this worker's partitions of a topic that was not
        given to its agent, nor anything that an open transaction keeps back.

        Raises KafkaError or TimeoutError where it does not answer.
        """

    def first_waiting(self) -> dict[Partition, StoredMessage]:
        """The first message of each partition that was read, and not given to its agent."""

    async def progress(self) -> dict[Partition, tuple[int, int]]:
        """Of each partition of which it is known: up to where it is read, and then where it ends for those
        who read committed messages.

        Raises KafkaError or TimeoutError where the broker does not answer.
        """

    @property
    def waiting_bytes(self) -> int:
        """Of what was read, and not given to its agent."""

    def hold(self, partitions: Collection[Partition]) -> None:
        """Give nothing more of these until ``release`` or the next assignment; others are not held up."""

    def release(self, partitions: Collection[Partition]) -> None:
        """Go on with partitions that were held, with the next message."""


class Inbox:
    """Where messages of one topic wait for their agent, in the order in which they came.

    ``on_room`` is called when reading may go on after ``is_full``.
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
        """Add messages of one partition, whether there is room or not."""
        for chunk in _chunks(partition, messages, self._limits):
            if partition in self._held:
                self._held[partition].append(chunk)
            else:
                self._waiting.append(chunk)
                self.waiting_bytes += chunk.size
        self._weigh()

    async def take(self) -> list[StoredMessage]:
        """What waits, as much as a batch takes; waits for the first message."""
        # Once a batch others have their turn, also where this never has to wait.
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
        """Nothing comes any more: raise ``error`` once all is taken."""
        self._error = error
        self._arrived.set()

    def clear(self) -> None:
        """Forget everything, and what was held."""
        self._waiting.clear()
        self._held.clear()
        self.waiting_bytes = 0
        self._weigh()

    def hold(self, partition: Partition) -> None:
        """Keep what waits of a partition, and what comes of it, until it is released."""
        aside = self._held[partition]
        aside.extend(chunk for chunk in self._waiting if chunk.partition == partition)
        self._waiting = deque(chunk for chunk in self._waiting if chunk.partition != partition)
        self.waiting_bytes = sum(chunk.size for chunk in self._waiting)
        self._weigh()

    def release(self, partition: Partition) -> None:
        """Give what was held before everything else."""
        aside = self._held.pop(partition, deque())
        self._waiting.extendleft(reversed(aside))
        self.waiting_bytes += sum(chunk.size for chunk in aside)
        self._weigh()

    @property
    def first_of_each(self) -> dict[Partition, StoredMessage]:
        """The first message of each partition of which something waits, or is held."""
        first: dict[Partition, StoredMessage] = {}
        for chunk in self._waiting:
            first.setdefault(chunk.partition, chunk.messages[0])
        for partition, aside in self._held.items():
            if aside:
                first[partition] = aside[0].messages[0]
        return first

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, nor is held."""
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
    """Messages of one partition that are given together."""

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
