"""A worker that keeps what its delivery gives it, and what reads and writes topics beside it."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import faust
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Producer
from kafka import KafkaProducer

from streams.kafka.settings import Settings, producer_config
from streams.messages.stored import Headers
from streams.worker.batches import Inbox
from streams.worker.delivery import Batch, Limits, Partition, deliver, raw_topic
from tests.waiting import wait_until

PATIENCE_S = 60.0


class Keeper:
    """A worker on the trace topic; ``given`` maps assignment and partition to the offsets, in turn."""

    def __init__(self, settings: Settings, group: str, folder: Path, limits: Limits | None = None) -> None:
        self.topic = settings.trace_topic
        self.given: defaultdict[tuple[int, Partition], list[int]] = defaultdict(list)
        self.values: list[bytes] = []
        self.batches: list[Batch] = []
        self.on_batch: Callable[[Batch], Any] = lambda batch: None
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.changes: list[tuple[int, frozenset[Partition]] | None] = []
        self._moved = asyncio.Event()
        self.app = faust.App(
            group,
            broker=[f"kafka://{settings.bootstrap_servers}"],
            stream_wait_empty=False,
            broker_session_timeout=6.0,
            broker_heartbeat_interval=0.5,
            consumer_auto_offset_reset="earliest",
            topic_allow_declare=False,
            topic_disable_leader=True,
            value_serializer="raw",
            key_serializer="raw",
            web_enabled=False,
            store="memory://",
            datadir=folder / uuid.uuid4().hex,
        )
        self.delivery = deliver(
            self.app,
            on_assigned=lambda *assigned: self._note(assigned),
            on_revoked=lambda: self._note(None),
            limits=limits,
        )

        @self.app.agent(raw_topic(self.app, self.topic), name="keeper")
        async def keep(stream: Any) -> None:
            async for batch in self.delivery.batches(stream):
                self._keep(batch)
                await self.may_take.wait()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something that a batch or a rebalance brings about."""
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                self._moved.clear()
                await self._moved.wait()

    async def until_given(self, count: int) -> None:
        await self.until(lambda: len(self.values) >= count)

    async def until_owning(self, count: int) -> None:
        await self.until(lambda: len(self.delivery.partitions) == count)

    async def until_at_end(self) -> None:
        """Wait until nothing is left to read."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self.delivery.is_at_end(self.topic):
                pass

    async def until_full(self) -> Inbox:
        """Wait until so much waits that reading pauses."""
        inbox: Inbox = self.delivery._inboxes[self.topic]  # type: ignore[attr-defined]
        await asyncio.to_thread(wait_until, lambda: inbox.is_full, PATIENCE_S)
        return inbox

    def _keep(self, batch: Batch) -> None:
        self.batches.append(batch)
        for message in batch.messages:
            self.given[batch.assignment, (message.topic, message.partition)].append(message.offset)
            self.values.append(message.value)
        self.on_batch(batch)
        self._moved.set()

    def _note(self, change: tuple[int, frozenset[Partition]] | None) -> None:
        self.changes.append(change)
        self._moved.set()


@asynccontextmanager
async def running(*keepers: Keeper) -> AsyncIterator[None]:
    for keeper in keepers:
        await keeper.app.start()
    try:
        yield
    finally:
        for keeper in keepers:
            await keeper.app.stop()


async def write(settings: Settings, values: Iterable[tuple[int, bytes]], topic: str | None = None) -> None:
    """Values on partitions of the trace topic, or of another."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all", linger_ms=5)
    async with producer:
        sent = [
            await producer.send(topic or settings.trace_topic, value, key=b"key", partition=partition)
            for partition, value in values
        ]
        await asyncio.gather(*sent)


def opened_transaction(settings: Settings, value: bytes, topic: str | None = None) -> Producer:
    """Another client with a transaction that is not ended yet, and has a value on the first partition."""
    servers, name = settings.bootstrap_servers, uuid.uuid4().hex
    producer = Producer({"bootstrap.servers": servers, "transactional.id": name})
    producer.init_transactions(PATIENCE_S)
    producer.begin_transaction()
    producer.produce(topic or settings.trace_topic, value, b"key", partition=0)
    assert producer.flush(PATIENCE_S) == 0
    return producer


class _OddName(str):
    """A header's name as a client in C may write it."""

    def encode(self, *_: str) -> bytes:
        return b"n\xff"


def write_odd_names(settings: Settings, topic: str, codec: str | None) -> list[tuple[bytes, Headers]]:
    """Records in one batch, of which two have a header whose name is no UTF-8; as they should be read."""
    odd: Headers = (("usual", b"0"), ("n\\xff", b"1"))
    records: list[tuple[bytes, Headers]] = [(b"1", ()), (b"2", odd), (b"3", (("ü", b"2"),)), (b"4", odd)]
    producer = KafkaProducer(**producer_config(settings) | {"compression_type": codec, "linger_ms": 500})
    for value, headers in records:
        names = [(_OddName(name) if "\\" in name else name, of) for name, of in headers]
        producer.send(topic, value, b"key", headers=names, partition=0)
    producer.close()
    return records


async def committed(settings: Settings, group: str) -> dict[Partition, int]:
    """What the group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {
        (tp.topic, tp.partition): stored.offset
        for tp, stored in offsets.items()
        if isinstance(tp, TopicPartition)
    }
