"""Delivery through Faust's documented interface, for versions of Faust whose internals are unknown.

Each event stays in memory until its offset is committed, because Faust acknowledges events.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import faust
import msgspec
from faust.types import TP

from streams.messages.stored import StoredMessage, stored_message
from streams.worker.batches import Batch, BrokerAway, Inbox, Limits, Partition, Revoked
from streams.worker.faust_consumer import WorkerConsumer

_COMMIT_S = 10.0
_LONGEST_READ_S = 1.2


class EventDelivery:
    """``Delivery`` that reads one event at a time."""

    def __init__(
        self,
        app: faust.App,
        on_assigned: Callable[[int, frozenset[Partition]], None],
        on_revoked: Callable[[], None],
        limits: Limits,
    ) -> None:
        self.assignment = 0
        self.partitions: frozenset[Partition] = frozenset()
        self._app = app
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._limits = limits
        self._inboxes: dict[str, Inbox] = {}
        self._room = asyncio.Event()
        self._unacked: defaultdict[Partition, deque[Any]] = defaultdict(deque)
        self._expected: dict[TP, _Expected] = {}
        self._next: dict[Partition, int] = {}
        self._going_back: asyncio.Future[None] | None = None
        app.transport.Consumer = WorkerConsumer
        app.on_partitions_revoked.connect(self._revoke, weak=False)
        app.on_partitions_assigned.connect(self._assign, weak=False)

    async def batches(self, stream: Any) -> AsyncIterator[Batch]:
        (topic,) = stream.channel.topics
        inbox = self._inboxes[topic] = Inbox(self._limits, self._room.set)
        filling = asyncio.ensure_future(self._fill(inbox, stream))
        try:
            while True:
                messages = await inbox.take()
                yield Batch(self.assignment, messages)
        finally:
            filling.cancel()

    async def commit(self, assignment: int, offsets: Mapping[Partition, int]) -> None:
        if assignment != self.assignment or not offsets.keys() <= self.partitions:
            raise Revoked(f"assignment {assignment} is over, or {sorted(offsets)} does not belong to it")
        for partition, offset in offsets.items():
            unacked = self._unacked[partition]
            while unacked and unacked[0].message.offset < offset:
                unacked.popleft().ack()
        try:
            async with asyncio.timeout(_COMMIT_S):
                await self._app.consumer.commit({TP(*partition) for partition in offsets})
        except TimeoutError:
            raise BrokerAway(f"no answer to a commit within {_COMMIT_S:g} s") from None
        if assignment != self.assignment:
            raise Revoked(f"assignment {assignment} is over")

    async def is_at_end(self, topic: str) -> bool:
        """Like ``Delivery.is_at_end``, but may overlook messages that Faust has not registered yet."""
        consumer, inbox = self._app.consumer, self._inboxes.get(topic)
        own = [TP(*partition) for partition in self.partitions if partition[0] == topic]
        if inbox is None or not inbox.is_empty or not set(own) <= consumer.assignment():
            return False
        for tp, stable in (await consumer.highwaters(*own) if own else {}).items():
            # For a reader of committed messages the topic ends where the first open transaction begins.
            last = consumer.highwater(tp)
            if last is None or (await consumer.position(tp) or 0) < max(stable, last):
                return False
        return inbox.is_empty and not any(
            message.tp in own and message.offset >= self._next.get(message.tp, 0)
            for message in list(consumer.unacked)
        )

    def first_waiting(self) -> dict[Partition, StoredMessage]:
        return {p: m for inbox in self._inboxes.values() for p, m in inbox.first_of_each.items()}

    async def progress(self) -> dict[Partition, tuple[int, int]]:
        """Like ``Delivery.progress``; messages that Faust has read but not registered yet count as read."""
        consumer, own = self._app.consumer, [TP(*partition) for partition in self.partitions]
        read = {tp: await consumer.position(tp) for tp in own}
        ends = await consumer.highwaters(*own) if own else {}
        return {
            (tp.topic, tp.partition): (position, ends[tp])
            for tp, position in read.items()
            if position is not None and tp in ends
        }

    @property
    def waiting_bytes(self) -> int:
        return sum(inbox.waiting_bytes for inbox in list(self._inboxes.values()))

    def hold(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._inboxes[partition[0]].hold(partition)

    def release(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._inboxes[partition[0]].release(partition)

    async def _fill(self, inbox: Inbox, stream: Any) -> None:
        try:
            async for event in stream.noack().events():
                while inbox.is_full:
                    self._room.clear()
                    await self._room.wait()
                if self._is_next(event.message):
                    partition = (event.message.topic, event.message.partition)
                    self._unacked[partition].append(event)
                    inbox.put(partition, [_stored(event.message)])
        except Exception as error:
            inbox.fail(error)

    def _is_next(self, message: Any) -> bool:
        """Whether a message belongs to this assignment, and none before it is missing."""
        partition, offset = TP(message.topic, message.partition), message.offset
        if partition not in self.partitions or message.generation_id != self._app.consumer_generation_id:
            return False
        expected = self._expected.get(partition)
        if expected is not None and offset > expected.at_most:
            expected.at_most = offset if expected.at_most == expected.first else expected.at_most
            return False
        self._expected.pop(partition, None)
        if offset < self._next.get(partition, 0):
            return False
        self._next[partition] = offset + 1
        return True

    async def _revoke(self, _: Any, revoked: Iterable[Any], **__: Any) -> None:
        self._forget()
        self._on_revoked()

    async def _assign(self, _: Any, assigned: Iterable[Any], **__: Any) -> None:
        self._forget()
        consumer = self._app.consumer
        if assigned:
            committed = await consumer.seek_to_committed()
            earliest = await consumer.earliest_offsets(*assigned)
            for tp, offset in earliest.items():
                first = max(offset, committed.get(tp) or 0)
                self._expected[TP(tp.topic, tp.partition)] = _Expected(first, at_most=first)
        self.partitions = frozenset((tp.topic, tp.partition) for tp in assigned)
        self._on_assigned(self.assignment, self.partitions)
        self._going_back = asyncio.ensure_future(self._go_back(self.assignment))

    async def _go_back(self, assignment: int) -> None:
        """Read messages again that Faust lost in the rebalance.

        In Faust 0.15.3 a read that waits through a rebalance takes the first messages of the next assignment
        and drops them. If nothing was committed yet, Faust does not go back to them.
        """
        consumer = self._app.consumer
        while self._expected:
            await asyncio.sleep(_LONGEST_READ_S)
            for partition, expected in list(self._expected.items()):
                position = await consumer.position(partition)
                if self.assignment != assignment:
                    return
                if position is not None and position > expected.first:
                    await consumer.seek(partition, expected.first)

    def _forget(self) -> None:
        self.assignment += 1
        if self._going_back is not None:
            self._going_back.cancel()
        self.partitions = frozenset()
        self._unacked.clear()
        self._expected.clear()
        self._next.clear()
        for inbox in self._inboxes.values():
            inbox.clear()


@dataclass(slots=True)
class _Expected:
    """The expected start of a partition from which nothing has come yet in this assignment."""

    first: int
    """Offset from which the partition is read."""
    at_most: int
    """The first message must have at most this offset; a higher one means that messages were lost."""


def _stored(message: Any) -> StoredMessage:
    """The stored form of a message of Faust, which keeps timestamps in seconds."""
    return msgspec.structs.replace(
        stored_message(message), timestamp_ms=max(round((message.timestamp or 0) * 1000), 0)
    )
