"""Messages on their way to Kafka: sent in batches, and known by numbers that the worker gave them.

The worker gives each message a number and goes on; batches of what waits leave one after the other for each
partition, so the order within a partition is the order of ``send``. No message has a task or a future::

    outbox = Outbox(settings, on_sent=core.sent, on_refused=core.refused, on_failed=core.failed)
    await outbox.start()
    outbox.send(17, Outgoing(settings.pairs_topic, key, value))
    ...    # later: core.sent([17]), once Kafka has it (acks=all), or core.failed([17], error)
    await outbox.stop()
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.partitioner import murmur2

from streams.kafka.failures import failure
from streams.kafka.settings import Settings, aiokafka_config
from streams.messages.limits import MAX_PAIR_BYTES
from streams.messages.stored import Outgoing

log = logging.getLogger(__name__)

_BATCH_BYTES = 512 << 10
"""Of one partition and request; there is one request at a time to a broker."""
_BATCH_MESSAGES = 1 << 16
"""No limit: a batch of so many would be larger than its bytes may be."""
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_RETRY_S = 0.1
_CLOSE_S = 5.0
"""aiokafka would ask a broker that is away for ever."""


class Outbox:
    """Writes to every topic but the snapshots'; an idempotent producer in the worker's event loop.

    ``on_sent(numbers)`` is called once the broker has a batch, with its numbers in the order of ``send``. A
    broker that is away is waited for. ``on_refused(number, message, error)`` is called for a message that its
    topic does not take for its size; it is given up, and all others go on. ``on_failed(numbers, error)`` is
    called where sending again is no use for any other reason:
    it takes everything with it that is not on Kafka yet, over all partitions, and whether to send that once
    more, in the order of the numbers, is up to the worker. What failed may still be on Kafka.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_sent: Callable[[Sequence[int]], None],
        on_refused: Callable[[int, Outgoing, Exception], None],
        on_failed: Callable[[Sequence[int], Exception], None],
    ) -> None:
        self._settings = settings
        self._on_sent = on_sent
        self._on_refused = on_refused
        self._on_failed = on_failed
        self._producer: AIOKafkaProducer | None = None
        self._given: deque[_Numbered] = deque()
        self._waiting: dict[tuple[str, int], deque[_Numbered]] = {}
        self._in_flight: dict[tuple[str, int], list[_Numbered]] = {}
        self._at_most: dict[tuple[str, int], int] = {}
        """How many messages a batch may have, where one was refused."""
        self._has_gap = False
        """Whether a batch was refused: an idempotent producer's numbers have a gap then."""
        self._unsent: dict[int, int] = {}
        self._unsent_bytes = 0
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Connect. Raises BadInput where no broker answers."""
        try:
            self._producer = await self._connect()
        except KafkaConnectionError as error:
            raise await asyncio.to_thread(failure, self._settings, error) from None
        self._sending = asyncio.create_task(self._send_for_ever())

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Send what waits, for at most so long, and close; what is left fails."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._unsent:
                    self._settled.clear()
                    await self._settled.wait()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait({self._sending})
        if self._unsent:
            self._fail(KafkaConnectionError(f"{len(self._unsent)} messages were not sent before the end"))
        await asyncio.gather(self._close(self._producer), *self._closing)

    def send(self, number: int, message: Outgoing) -> None:
        """Take a message on; never waits. Raises ValueError for one that is larger than any topic takes."""
        size = message.size
        if size > MAX_PAIR_BYTES:
            raise ValueError(
                f"a message for {message.topic} has {size} bytes; no topic takes more than {MAX_PAIR_BYTES}"
            )
        self._unsent[number] = size
        self._unsent_bytes += size
        self._given.append((number, message))
        self._work.set()

    @property
    def unsent(self) -> int:
        """How many messages were given and are neither sent nor failed."""
        return len(self._unsent)

    @property
    def unsent_bytes(self) -> int:
        """Their keys, values and headers, in bytes. The worker holds partitions back where this grows."""
        return self._unsent_bytes

    async def know_partitions(self, topic: str, count: int) -> None:
        """Wait until the producer has heard of so many partitions; by itself it looks every five minutes."""
        while not await self._knows(topic, count):
            self._work.set()  # makes a new producer where the last one failed
            await asyncio.sleep(_RETRY_S)

    async def _knows(self, topic: str, count: int) -> bool:
        producer = self._producer
        if producer is None:
            return False
        try:
            if len(await producer.partitions_for(topic)) >= count:
                return True
            await producer.client.force_metadata_update()
        except KafkaError as error:
            log.warning("the partitions of %s are not known yet: %s", topic, error)
        return False

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **aiokafka_config(self._settings),
            acks="all",
            enable_idempotence=True,
            # 6.9 µs a message; lz4 takes 13.2, gzip 23.6, and none at all 6.1.
            compression_type="zstd",
            # What comes while a batch is on its way makes up the next one; there is nothing to linger for.
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=10_000,
        )
        try:
            await producer.start()
        except BaseException:
            await self._close(producer)
            raise
        return producer

    @staticmethod
    async def _close(producer: AIOKafkaProducer | None) -> None:
        if producer is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(producer.stop(), _CLOSE_S)

    async def _send_for_ever(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if self._has_gap:
                if self._in_flight:
                    continue  # their answers set the event again
                self._give_up_producer()
            try:
                producer = self._producer = self._producer or await self._connect()
                await self._sort(producer)
                for partition in [p for p in self._waiting if p not in self._in_flight]:
                    await self._send_batch(producer, partition)
            except Exception as error:
                if isinstance(error, KafkaError) and error.retriable:
                    log.warning("what was formed waits: %s", error)
                    await asyncio.sleep(_RETRY_S)
                    self._work.set()
                else:
                    self._fail(error)

    async def _sort(self, producer: AIOKafkaProducer) -> None:
        counts: dict[str, int] = {}
        while self._given:
            message = self._given[0][1]
            number = message.partition
            if number is None:
                count = counts.get(message.topic)
                if count is None:
                    count = counts[message.topic] = len(await producer.partitions_for(message.topic))
                number = _hash(message.key or b"") % count
            partition = (message.topic, number)
            self._waiting.setdefault(partition, deque()).append(self._given.popleft())

    async def _send_batch(self, producer: AIOKafkaProducer, partition: tuple[str, int]) -> None:
        waiting, batch = self._waiting[partition], producer.create_batch()
        sent: list[_Numbered] = []
        at_most = self._at_most.get(partition, _BATCH_MESSAGES)
        while waiting and len(sent) < at_most:
            message = waiting[0][1]
            added = batch.append(
                timestamp=None, key=message.key, value=message.value, headers=list(message.headers)
            )
            if added is None:
                break
            sent.append(waiting.popleft())
        if not waiting:
            del self._waiting[partition]
        batch.close()
        self._in_flight[partition] = sent
        try:
            delivery = await producer.send_batch(batch, partition[0], partition=partition[1])
        except KafkaError:
            del self._in_flight[partition]
            self._waiting.setdefault(partition, deque()).extendleft(reversed(sent))
            raise
        delivery.add_done_callback(lambda done: self._on_delivery(partition, sent, done))

    def _on_delivery(
        self, partition: tuple[str, int], sent: list[_Numbered], delivery: asyncio.Future[Any]
    ) -> None:
        error = delivery.exception()
        if self._in_flight.get(partition) is not sent:
            return
        if isinstance(error, _TOO_LARGE):
            self._refuse(partition, sent, error)
            return
        if isinstance(error, Exception):
            self._fail(error)
            return
        del self._in_flight[partition]
        if partition in self._at_most:
            self._at_most[partition] *= 2
            if self._at_most[partition] >= _BATCH_MESSAGES:
                del self._at_most[partition]
        numbers = [number for number, _ in sent]
        self._forget(numbers)
        self._on_sent(numbers)
        self._work.set()

    def _refuse(self, partition: tuple[str, int], sent: list[_Numbered], error: Exception) -> None:
        """A batch may be too large as a whole: smaller ones show which of its messages is."""
        del self._in_flight[partition]
        self._has_gap = True
        self._work.set()
        if len(sent) > 1:
            self._at_most[partition] = len(sent) // 2
            self._waiting.setdefault(partition, deque()).extendleft(reversed(sent))
            return
        ((number, message),) = sent
        self._forget([number])
        self._on_refused(number, message, error)

    def _fail(self, error: Exception) -> None:
        """After a batch that failed an idempotent producer has a gap in its numbers, and sends no more."""
        numbers = sorted(self._unsent)
        self._given.clear()
        self._waiting.clear()
        self._in_flight.clear()
        self._at_most.clear()
        self._forget(numbers)
        self._give_up_producer()
        self._on_failed(numbers, error)

    def _give_up_producer(self) -> None:
        """The next batch goes through a new one."""
        self._has_gap = False
        broken, self._producer = self._producer, None
        if broken is not None:
            closing = asyncio.ensure_future(self._close(broken))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _forget(self, numbers: Sequence[int]) -> None:
        self._unsent_bytes -= sum(self._unsent.pop(number) for number in numbers)
        self._settled.set()


_Numbered = tuple[int, Outgoing]


@lru_cache(maxsize=1 << 16)
def _hash(key: bytes) -> int:
    """As every Kafka client hashes a key; 11 µs for a run's id without the cache."""
    return int(murmur2(key)) & 0x7FFFFFFF
