"""Sends the worker's messages to Kafka in batches; the worker identifies each message by a number.

``send`` never waits. Each partition has one batch at a time under way, so the order within a partition is the
order of ``send``. No message has a task or a future of its own::

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
"""Largest batch per partition and request; a broker gets one request at a time."""
_BATCH_MESSAGES = 1 << 16
"""Most messages of a batch, in effect no limit: so many would exceed ``_BATCH_BYTES``."""
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_RETRY_S = 0.1
_CLOSE_S = 5.0
"""Time limit for closing; aiokafka would retry indefinitely while the broker is unreachable."""


class Outbox:
    """Writes to every topic except the snapshots topic; an idempotent producer in the worker's event loop.

    The outbox waits for an unreachable broker, and for the leader of a partition. ``on_sent(numbers)`` is
    called once the broker has a batch; the numbers are in the order of ``send``. ``on_refused(number,
    message, error)`` is called for a message that is too large for its topic; it is dropped, and all others
    continue. ``on_failed(numbers, error)`` is called for any other error that a retry cannot fix. It fails
    every message that is not on Kafka yet, in all partitions; the worker decides whether to send them again,
    in the order of the numbers. A failed message may still be on Kafka.
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
        """Partition to the most messages that a batch may have, after a batch was refused."""
        self._has_gap = False
        """Whether a batch came back, which leaves a gap in the idempotent producer's sequence numbers."""
        self._unsent: dict[int, int] = {}
        self._unsent_bytes = 0
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Connect. Raises BadInput if no broker answers."""
        try:
            self._producer = await self._connect()
        except KafkaConnectionError as error:
            raise await asyncio.to_thread(failure, self._settings, error) from None
        self._sending = asyncio.create_task(self._send_for_ever())

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Send waiting messages for up to ``timeout_s`` seconds, then close; the rest fail."""
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
        """Queue a message; never waits. Raises ValueError if it is larger than any topic accepts."""
        size = message.size
        if size > MAX_PAIR_BYTES:
            raise ValueError(
                f"a message for {message.topic} has {size} bytes; no topic accepts more than {MAX_PAIR_BYTES}"
            )
        self._unsent[number] = size
        self._unsent_bytes += size
        self._given.append((number, message))
        self._work.set()

    @property
    def unsent(self) -> int:
        """How many queued messages are neither sent nor failed."""
        return len(self._unsent)

    @property
    def unsent_bytes(self) -> int:
        """Size of their keys, values and headers. The worker stops reading while this is too large."""
        return self._unsent_bytes

    async def know_partitions(self, topic: str, count: int) -> None:
        """Wait until the producer knows at least ``count`` partitions; on its own it checks every 5
        minutes."""
        while not await self._knows(topic, count):
            self._work.set()  # creates a new producer if the last one failed
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
            # 6.9 µs per message; lz4 takes 13.2, gzip 23.6, and no compression 6.1.
            compression_type="zstd",
            # Messages that arrive while a batch is under way form the next one, so lingering gains nothing.
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
                    continue  # their answers set the event
                self._give_up_producer()
            try:
                producer = self._producer = self._producer or await self._connect()
                await self._sort(producer)
                for partition in [p for p in self._waiting if p not in self._in_flight]:
                    await self._send_batch(producer, partition)
            except Exception as error:
                if isinstance(error, KafkaError) and error.retriable:
                    log.warning("messages wait to be sent: %s", error)
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
        if isinstance(error, KafkaError) and error.retriable:
            # aiokafka gives up a batch whose partition has no leader for ``request_timeout_ms``.
            log.warning("messages for %s[%d] wait to be sent: %s", *partition, error)
            self._put_back(partition, sent)
            asyncio.get_running_loop().call_later(_RETRY_S, self._work.set)
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
        """Handle a batch that is too large: halve it until a single message is at fault."""
        self._work.set()
        if len(sent) > 1:
            self._at_most[partition] = len(sent) // 2
            self._put_back(partition, sent)
            return
        del self._in_flight[partition]
        self._has_gap = True
        ((number, message),) = sent
        self._forget([number])
        self._on_refused(number, message, error)

    def _put_back(self, partition: tuple[str, int], sent: list[_Numbered]) -> None:
        """Send a batch again before all that waits, with a new producer."""
        del self._in_flight[partition]
        self._has_gap = True
        self._waiting.setdefault(partition, deque()).extendleft(reversed(sent))

    def _fail(self, error: Exception) -> None:
        """Fail all messages: after a failed batch the idempotent producer has a gap in its sequence numbers
        and cannot send."""
        numbers = sorted(self._unsent)
        self._given.clear()
        self._waiting.clear()
        self._in_flight.clear()
        self._at_most.clear()
        self._forget(numbers)
        self._give_up_producer()
        self._on_failed(numbers, error)

    def _give_up_producer(self) -> None:
        """Close the producer; the next batch uses a new one."""
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
    """The key's hash, as in every Kafka client; without the cache it takes 11 µs for a run id."""
    return int(murmur2(key)) & 0x7FFFFFFF
