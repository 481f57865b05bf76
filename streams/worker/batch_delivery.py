"""Delivers lists of records from aiokafka to the agents, bypassing Faust's queues, events and acks.

Faust still controls the group, rebalances and flow. Its consumer gets a ``_drain_messages`` that reads lists
and puts them into inboxes. Faust never sees a message, so it has none to track or commit. This module
contains all assumptions about the internals of Faust and aiokafka, for the versions below.
``tests/kafka/test_delivery.py`` fails if the code that it relies on changes.

Reads, commits and rebalances run in Faust's consumer thread, and a rebalance waits until the worker's event
loop is notified. So while the assignment number equals the one that a read or commit was requested with, the
group's generation belongs to that assignment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from importlib.metadata import version
from typing import Any

import faust
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from streams.messages.stored import StoredMessage, stored_message
from streams.worker.batches import Batch, BrokerAway, Inbox, Limits, Partition, Revoked
from streams.worker.faust_consumer import ConsumerThread, WorkerConsumer

KNOWN_VERSIONS = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}

_FETCH_WAIT_MS = 100
"""How long the broker holds a fetch request for partitions without new messages. aiokafka sends the next
request only afterwards, so a partition outside the request waits that long; Faust's 1.5 s are too long."""
_READ_S = 1.0
_READ_WITH_SOME_PAUSED_S = 0.1
_READ_MESSAGES = 4_000
_COMMIT_S = 10.0


def strange_version() -> str | None:
    """A sentence for the log if a package is installed in a version unknown to this module, else None."""
    for package, known in KNOWN_VERSIONS.items():
        installed = version(package)
        if installed != known:
            return f"{package} is {installed}; delivery in batches supports only {known}"
    return None


class BatchDelivery:
    """``Delivery`` of whole lists."""

    def __init__(
        self,
        app: faust.App,
        on_assigned: Callable[[int, frozenset[Partition]], None],
        on_revoked: Callable[[], None],
        limits: Limits,
    ) -> None:
        self.assignment = 0
        self.partitions: frozenset[Partition] = frozenset()
        self.may_read_more = asyncio.Event()
        self._app = app
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._limits = limits
        self._inboxes: dict[str, Inbox] = {}
        self._next: dict[Partition, int] = {}
        self._read_up_to: dict[Partition, int] = {}
        app.transport.Consumer = _consumer_for(self)

    async def batches(self, stream: Any) -> AsyncIterator[Batch]:
        # aiter() makes Faust's conductor subscribe to the topic.
        (topic,) = aiter(stream.channel).topics
        inbox = self._inboxes[topic] = Inbox(self._limits, self.may_read_more.set)
        self.may_read_more.set()
        while True:
            messages = await inbox.take()
            yield Batch(self.assignment, messages)

    async def commit(self, assignment: int, offsets: Mapping[Partition, int]) -> None:
        consumer = self._app.consumer
        await consumer.in_thread(consumer._thread.commit_for(assignment, dict(offsets)))

    async def is_at_end(self, topic: str) -> bool:
        assignment, inbox = self.assignment, self._inboxes.get(topic)
        own = [partition for partition in self.partitions if partition[0] == topic]
        consumer = self._app.consumer
        ends = await consumer.in_thread(consumer._thread.ends(own)) if own else {}
        if assignment != self.assignment or inbox is None or not inbox.is_empty or len(ends) < len(own):
            return False
        return all(self._read_up_to.get(partition, -1) >= end for partition, end in ends.items())

    def first_waiting(self) -> dict[Partition, StoredMessage]:
        return {p: m for inbox in self._inboxes.values() for p, m in inbox.first_of_each.items()}

    async def progress(self) -> dict[Partition, tuple[int, int]]:
        read, consumer = dict(self._read_up_to), self._app.consumer
        own = list(self.partitions)
        ends = await consumer.in_thread(consumer._thread.stable_ends(own)) if own else {}
        return {partition: (read[partition], end) for partition, end in ends.items() if partition in read}

    @property
    def waiting_bytes(self) -> int:
        return sum(inbox.waiting_bytes for inbox in list(self._inboxes.values()))

    def hold(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._inboxes[partition[0]].hold(partition)

    def release(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._inboxes[partition[0]].release(partition)
        self.may_read_more.set()

    def revoke(self) -> None:
        """All partitions were revoked."""
        self._forget()
        self._on_revoked()

    def assign(self, partitions: frozenset[Partition]) -> None:
        """These partitions are owned from now on; nothing has been read from them."""
        self._forget()
        self.partitions = partitions
        self._on_assigned(self.assignment, partitions)

    def wanted(self, active: Collection[TP]) -> set[TP]:
        """The partitions among ``active`` from which more may be read now."""
        return {
            tp
            for tp in active
            if (inbox := self._inboxes.get(tp.topic)) is not None
            and not inbox.is_full
            and tp not in inbox.held
        }

    def put(self, records: Mapping[Any, list[Any]], read_up_to: Mapping[Partition, int]) -> None:
        """Accept records read in the current assignment.

        ``read_up_to`` holds the position of each partition, behind the records and behind skipped offsets:
        transaction markers and aborted messages.
        """
        self._read_up_to.update(read_up_to)
        for tp, read in records.items():
            partition = (tp.topic, tp.partition)
            if read[0].offset < self._next.get(partition, 0):
                read = [record for record in read if record.offset >= self._next[partition]]
            if read:
                self._next[partition] = read[-1].offset + 1
                self._inboxes[tp.topic].put(partition, map(stored_message, read))

    @property
    def next_offsets(self) -> Mapping[Partition, int]:
        """Partition to the offset after the last record read in the current assignment, if there is one."""
        return self._next

    def _forget(self) -> None:
        self.assignment += 1
        self.partitions = frozenset()
        self._next.clear()
        self._read_up_to.clear()
        for inbox in self._inboxes.values():
            inbox.clear()


class _Thread(ConsumerThread):
    """Faust's consumer thread; the coroutines below run in it."""

    consumer: Any

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def read_for(
        self, assignment: int, partitions: set[TP], timeout_s: float
    ) -> tuple[dict[Any, list[Any]], dict[Partition, int]]:
        """The records that have arrived, and each partition's position after them."""
        consumer = self._ensure_consumer()
        records: dict[Any, list[Any]] = await self._fetch_records(
            consumer, partitions, timeout=timeout_s, max_records=_READ_MESSAGES
        )
        if self.consumer.delivery.assignment == assignment:
            return records, self._positions(partitions)
        # A read that waited through a rebalance has taken records of the next assignment: go back.
        for tp, read in records.items():
            if tp in consumer.assignment():
                consumer.seek(tp, read[0].offset)
        return {}, {}

    def _positions(self, partitions: set[TP]) -> dict[Partition, int]:
        subscription = self._ensure_consumer()._subscription
        assigned = [tp for tp in partitions if subscription.is_assigned(tp)]
        states = {tp: subscription.subscription.assignment.state_value(tp) for tp in assigned}
        return {tp: state.position for tp, state in states.items() if state.has_valid_position}

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Partition to the offset after its last record, open transactions included, where that is known."""
        consumer = self._ensure_consumer()
        # These end where the first open transaction begins; answers to fetches report what follows it.
        stable = await consumer.end_offsets([TopicPartition(*partition) for partition in partitions])
        return {
            tuple(tp): max(end, last)
            for tp, end in stable.items()
            if tp in consumer.assignment() and (last := consumer.highwater(tp)) is not None
        }

    async def stable_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Partition to the offset after the last message that readers of committed messages see."""
        consumer = self._ensure_consumer()
        ends = await consumer.end_offsets([TopicPartition(*partition) for partition in partitions])
        return {tuple(tp): end for tp, end in ends.items()}

    async def seek_to(self, offsets: Mapping[Partition, int]) -> None:
        consumer = self._ensure_consumer()
        for partition, offset in offsets.items():
            tp = TopicPartition(*partition)
            if tp in consumer.assignment():
                consumer.seek(tp, offset)

    async def commit_for(self, assignment: int, offsets: Mapping[Partition, int]) -> None:
        consumer = self._ensure_consumer()
        coordinator = consumer._coordinator
        committed = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        try:
            async with asyncio.timeout(_COMMIT_S):
                await coordinator.ensure_coordinator_known()
                async with coordinator._commit_lock:
                    # From here until the request is sent nothing else runs in this thread.
                    if self.consumer.delivery.assignment != assignment:
                        raise Revoked(f"assignment {assignment} is over")
                    strange = committed.keys() - consumer.assignment()
                    if strange:
                        raise Revoked(f"{sorted(strange)} is not of this assignment")
                    await coordinator._do_commit_offsets(None, committed)
        except (
            CommitFailedError,
            IllegalGenerationError,
            RebalanceInProgressError,
            UnknownMemberIdError,
        ) as error:
            raise Revoked(f"the group has moved on: {error}") from None
        except TimeoutError:
            raise BrokerAway(f"no answer to a commit within {_COMMIT_S:g} s") from None
        except KafkaError as error:
            if error.retriable:
                raise BrokerAway(str(error)) from None
            raise


class _Consumer(WorkerConsumer):
    """Faust's consumer, with a different path from its thread to the agents."""

    delivery: BatchDelivery
    _thread: _Thread

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Replaces Faust's method; runs as long as the fetcher does."""
        try:
            # A predecessor that was stopped during a read may have lost the records.
            await self.in_thread(self._thread.seek_to(dict(self.delivery.next_offsets)))
            while not (self.should_stop or fetcher.should_stop):
                await self._read_once()
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise

    async def _read_once(self) -> None:
        delivery = self.delivery
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
            return
        delivery.may_read_more.clear()
        wanted = delivery.wanted(self._get_active_partitions())
        if not wanted:
            await self.wait(delivery.may_read_more)
            return
        assignment = delivery.assignment
        timeout_s = _READ_S if len(wanted) == len(delivery.partitions) else _READ_WITH_SOME_PAUSED_S
        read = await self.in_thread(self._thread.read_for(assignment, wanted, timeout_s))
        if delivery.assignment == assignment:
            delivery.put(*read)

    def resume_flow(self) -> None:
        super().resume_flow()
        self.delivery.may_read_more.set()

    def on_partitions_revoked(self, revoked: set[TP]) -> Any:
        self.delivery.revoke()
        return super().on_partitions_revoked(revoked)

    def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> Any:
        self.delivery.assign(frozenset((tp.topic, tp.partition) for tp in assigned))
        return super().on_partitions_assigned(assigned, generation_id)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Disabled: Faust would report the events that bypass it as missing."""


def _consumer_for(delivery: BatchDelivery) -> type[_Consumer]:
    return type("_Consumer", (_Consumer,), {"delivery": delivery})
