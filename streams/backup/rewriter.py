"""Writes messages so that each gets its original offset.

Kafka assigns offsets by counting. Between two messages offsets can be missing: those of transaction markers,
aborted transactions and compacted messages. Such a gap of n offsets is filled with an aborted transaction of
n − 1 messages and its end marker, which readers of committed messages never see. A transaction without a
message fills one offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.errors import BadInput
from streams.fail_points import reach
from streams.kafka.settings import Settings, aiokafka_config
from streams.messages.limits import MAX_PAIR_BYTES, topic_bytes
from streams.messages.stored import LogRecord

_BATCH_BYTES = 512 << 10
_GAP_AT_ONCE = 50_000
"""Most offsets that one transaction fills."""
_LOOK_AGAIN_S = 0.002
ANSWER_S = 20.0
_CLOSE_S = 5.0
"""Time limit for closing; aiokafka would retry indefinitely while the broker is unreachable."""
_FILLER = b"gap"
"""Key of the messages in a gap, because a topic that is compacted later accepts none without a key."""


class Rewriter:
    """Appends to partitions; to be used in an ``async with`` block.

    Opening a rewriter aborts the transactions of an earlier one for these topics. All methods raise
    KafkaError, and TimeoutError if the broker stays silent.
    """

    def __init__(self, settings: Settings) -> None:
        self._access = aiokafka_config(settings)
        self._config = {
            **self._access,
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": "zstd",
            "max_batch_size": _BATCH_BYTES,
            "max_request_size": topic_bytes(MAX_PAIR_BYTES),
        }
        self._transactional_id = f"{settings.topic_prefix}.restore"
        self._ends: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        self._plain = AIOKafkaProducer(**self._config)
        self._aborting = AIOKafkaProducer(transactional_id=self._transactional_id, **self._config)
        # This consumer also sees uncommitted messages.
        self._consumer = AIOKafkaConsumer(**self._access)
        self._clients = (self._plain, self._aborting, self._consumer)
        try:
            for client in self._clients:
                await client.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*(client.stop() for client in self._clients))

    async def begin(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Look up and return the end of each of these partitions, where writing continues."""
        chosen = [TopicPartition(topic, number) for topic, number in partitions]
        self._ends = dict(await self._consumer.end_offsets(chosen))
        return {(each.topic, each.partition): end for each, end in self._ends.items()}

    async def write(self, topic: str, partition: int, records: Sequence[LogRecord]) -> None:
        """Write the records, in the order of their offsets; those before the partition's end already exist.

        Raises BadInput if one gets another offset, as when something else writes to the topic.
        """
        place = TopicPartition(topic, partition)
        following: list[LogRecord] = []
        for record in records:
            if record.offset < self._ends[place]:
                continue
            if record.offset > self._ends[place] + len(following):
                await self._append(place, following)
                following = []
                await self.fill(topic, partition, record.offset)
            following.append(record)
        await self._append(place, following)

    async def fill(self, topic: str, partition: int, until: int) -> None:
        """Fill the partition up to this offset, if it ends before."""
        place = TopicPartition(topic, partition)
        while (missing := until - self._ends[place]) > 0:
            await self._abort_one(place, min(missing, _GAP_AT_ONCE))

    async def _append(self, place: TopicPartition, records: Sequence[LogRecord]) -> None:
        sent = []
        batch, first = self._plain.create_batch(), 0
        for n, record in enumerate(records):
            if not _add(batch, record):
                sent.append((await self._send(self._plain, batch, place), records[first]))
                batch, first = self._plain.create_batch(), n
                _add(batch, record)
        if first < len(records):
            sent.append((await self._send(self._plain, batch, place), records[first]))
        for future, record in sent:
            async with asyncio.timeout(ANSWER_S):
                written = await future
            if written.offset != record.offset:
                raise self._taken(place, record.offset, written.offset)
        self._ends[place] += len(records)

    async def _abort_one(self, place: TopicPartition, offsets: int) -> None:
        """Fill this many offsets with one transaction. After an error the next rewriter aborts it."""
        end = self._ends[place] + offsets
        async with asyncio.timeout(ANSWER_S):
            await self._aborting.begin_transaction()
            # A transaction without a message writes its end marker only to partitions that were added to it.
            self._aborting._txn_manager.maybe_add_partition_to_txn(place)
            await self._send_fillers(place, offsets - 1)
            reach("restore.gap-open")
            await self._aborting.abort_transaction()
            # The coordinator answers before the marker is written.
            while (found := (await self._consumer.end_offsets([place]))[place]) < end:
                await asyncio.sleep(_LOOK_AGAIN_S)
        if found > end:
            raise self._taken(place, end, found)
        self._ends[place] = end

    async def _send_fillers(self, place: TopicPartition, count: int) -> None:
        sent = []
        while count:
            batch = self._aborting.create_batch()
            while count and batch.append(key=_FILLER, value=None, timestamp=0) is not None:
                count -= 1
            sent.append(await self._send(self._aborting, batch, place))
        for future in sent:
            await future

    @staticmethod
    async def _send(producer: AIOKafkaProducer, batch: Any, place: TopicPartition) -> Any:
        batch.close()
        async with asyncio.timeout(ANSWER_S):  # the client itself waits for twice as long
            return await producer.send_batch(batch, place.topic, partition=place.partition)

    @staticmethod
    def _taken(place: TopicPartition, needed: int, found: int) -> BadInput:
        return BadInput(
            f"something else writes to topic {place.topic!r}: the next offset of partition {place.partition} "
            f"is {found}, expected {needed}; stop runs, page and trainers, delete the topics, "
            "and restore again"
        )


def _add(batch: Any, record: LogRecord) -> bool:
    """Add a record; returns whether the batch had room for it. The first record always fits."""
    added = batch.append(
        key=record.key, value=record.value, timestamp=record.timestamp_ms, headers=list(record.headers)
    )
    return added is not None
