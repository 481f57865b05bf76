"""The one writer of a reward model's messages on the snapshots topic.

Two learners of the same model must never both publish: a paused one that wakes up would overwrite what its
successor has learnt. Kafka does the fencing. Opening a writer fences off every older one with the same
``transactional.id``. Only then are the newest messages read, so nothing can be written between the read and
the first publication. Readers are ``read_committed``.

Kafka also fences off a writer whose transaction stayed open beyond its timeout, as in an outage. The
coordinator's view of the producer tells this case from a successor, before anyone is fenced off. After an
abort the producer's epoch is one ahead; after another writer has opened it is two ahead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

from streams.errors import BadInput, Fenced, NoBroker
from streams.fail_points import reach
from streams.kafka.failures import failure
from streams.kafka.probe import refusal
from streams.kafka.rights import Right
from streams.kafka.settings import Settings, aiokafka_config
from streams.kafka.topics import has_transactions
from streams.kafka.transactions import Producer, producer_that_timed_out
from streams.messages.limits import MAX_SNAPSHOT_BYTES, topic_bytes
from streams.messages.stored import Outgoing
from streams.snapshots.newest import Decoder, read_newest

log = logging.getLogger(__name__)

_READ_S = 30.0
_TRANSACTION_TIMEOUT_MS = 30_000
_AGAIN_S = 1.0
_START_S = 20.0
"""Time limit for starting; aiokafka would look for a coordinator for ever, without a word."""
_CLOSE_S = 5.0
"""Time limit for closing; aiokafka would retry indefinitely while the broker is unreachable."""

_T = TypeVar("_T")


class _TimedOut(Exception):
    """This producer's transaction timed out, and no other writer has opened since."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer


class FencedWriter:
    """Publishes one learner's messages of ``model``, and reads the newest ones.

    ``decoders`` lists the keys of which this is the only writer; the first key names its transactional id.
    ``compression`` is Kafka's; aiokafka compresses on the event loop. librdkafka's in-memory broker does not
    support fencing, so there is none on it.
    """

    def __init__(
        self, settings: Settings, model: str, decoders: Mapping[str, Decoder[Any]], compression: str | None
    ) -> None:
        self._settings = settings
        self._model = model
        self._name = next(iter(decoders))
        self._compression = compression
        self._decoders = {key.encode(): decoder for key, decoder in decoders.items()}
        self._producer: AIOKafkaProducer | None = None
        self._transactional = True
        self._newest: dict[bytes, bytes] = {}
        self._opening_again: asyncio.Task[None] | None = None
        self._is_closed = False

    async def open(self) -> dict[str, Any]:
        """Fence off every older writer, then read: key to its decoded newest message, for keys that have one.

        May be called again after ``close``. Raises BadInput, and NoBroker if no broker or no coordinator
        answers.
        """
        self._is_closed = False
        await self._start()
        return await self._read()

    async def _start(self) -> None:
        await self._stop()
        self._transactional = await asyncio.to_thread(has_transactions, self._settings)
        producer = AIOKafkaProducer(
            **aiokafka_config(self._settings),
            acks="all",
            enable_idempotence=True,
            compression_type=self._compression,
            max_request_size=topic_bytes(MAX_SNAPSHOT_BYTES),
            transactional_id=self.transactional_id if self._transactional else None,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(_START_S):
                await producer.start()
        except asyncio.CancelledError:
            await self._end(producer)
            raise
        except TimeoutError:
            await self._end(producer)
            # Raises where the broker is away by now.
            await asyncio.to_thread(has_transactions, self._settings)
            raise _no_coordinator_answers(self._settings) from None
        except KafkaError as error:
            await producer.stop()
            if isinstance(error, TransactionalIdAuthorizationFailed):
                right = Right("Write", "transactional id", self.transactional_id)
                raise refusal(self._settings, str(right)) from None
            # aiokafka wraps what it meets while it looks for the coordinator.
            cause = error.__cause__ if isinstance(error.__cause__, KafkaError) else error
            if isinstance(cause, KafkaConnectionError) or cause.retriable:
                raise await asyncio.to_thread(failure, self._settings, error) from None
            raise BadInput(f"the snapshots of model {self._model!r} cannot be written: {error}") from None
        self._producer = producer

    async def _read(self) -> dict[str, Any]:
        newest = await asyncio.to_thread(read_newest, self._settings, self._decoders, _READ_S)
        self._newest = {key: message.value for key, (message, _) in newest.items()}
        return {key.decode(): decoded for key, (_, decoded) in newest.items()}

    async def publish(self, *messages: Outgoing) -> None:
        """Publish all or none, and wait until Kafka has committed them.

        Raises Fenced if another writer has opened, and BadInput for a message that the topic cannot take.
        """
        for message in messages:
            if len(message.value) > MAX_SNAPSHOT_BYTES:
                raise BadInput(
                    f"a message of model {self._model!r} has {len(message.value)} bytes, and topic "
                    f"{message.topic!r} takes {MAX_SNAPSHOT_BYTES}; give the model fewer critics or contexts"
                )
        while True:
            try:
                await self._commit(messages)
                break
            except _TimedOut as error:
                await self._unless_closed(self._open_after_time_out(error.producer))
            except KafkaError as error:
                # An outage raises a subclass. aiokafka raises the base class when its sender has ended.
                if type(error) is not KafkaError:
                    raise
                await self._unless_closed(self._open_again(messages))
        self._newest |= self._of_own_keys(messages)

    async def close(self) -> None:
        """Stop writing, within seconds even while the broker is unreachable. May be called twice.

        A ``publish`` under way ends, too, and cannot fence off a writer opened afterwards.
        """
        self._is_closed = True
        if self._opening_again is not None:
            self._opening_again.cancel()
            await asyncio.wait({self._opening_again})
        await self._stop()

    async def _stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._end(producer)

    @staticmethod
    async def _end(producer: AIOKafkaProducer) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(producer.stop(), _CLOSE_S)

    @property
    def transactional_id(self) -> str:
        return f"{self._settings.topic_prefix}.{self._name}"

    async def _commit(self, messages: tuple[Outgoing, ...]) -> None:
        if self._producer is None:
            raise RuntimeError("open() comes before publish()")
        if not self._transactional:
            await self._send(self._producer, messages)
            return
        manager = self._producer._txn_manager
        own: Producer = manager.producer_id, manager.producer_epoch
        has_begun = False
        try:
            async with self._producer.transaction():
                try:
                    await self._send(self._producer, messages)
                except ProducerFenced:
                    # Whether Kafka has begun the transaction; aiokafka forgets it when the transaction ends.
                    has_begun = bool(manager.txn_partitions)
                    raise
                has_begun = True
                reach("learner.snapshot-sent")
        except ProducerFenced:
            if has_begun and await self._when_there(self._has_timed_out, own):
                raise _TimedOut(own) from None
            raise self._fenced() from None

    async def _has_timed_out(self, own: Producer) -> bool:
        """Whether no other writer has opened since this one, whose transaction Kafka has begun.

        A transaction that was committed, but whose answer was lost, has not timed out: its messages are then
        the newest.
        """
        found = await asyncio.to_thread(producer_that_timed_out, self._settings, self.transactional_id)
        if found != own:
            return False
        before = self._newest
        await self._read()
        return self._newest == before

    async def _open_after_time_out(self, own: Producer) -> None:
        log.warning(
            "Kafka was unreachable for longer than a transaction of model %r may last; its writer reopens",
            self._model,
        )
        before = self._newest
        await self._when_there(self._start)
        assert self._producer is not None
        manager = self._producer._txn_manager
        await self._when_there(self._read)
        # A larger epoch means that another writer has opened in between.
        if (manager.producer_id, manager.producer_epoch) != (own[0], own[1] + 2) or self._newest != before:
            raise self._fenced()

    async def _when_there(self, ask: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
        """The result of ``ask``; waits for an unreachable broker as aiokafka does."""
        while True:
            try:
                return await ask(*arguments)
            except NoBroker as error:
                log.warning("the writer of model %r waits for the broker: %s", self._model, error)
                await asyncio.sleep(_AGAIN_S)

    async def _unless_closed(self, opening: Coroutine[Any, Any, None]) -> None:
        task = self._opening_again = asyncio.ensure_future(opening)
        try:
            await task
        except asyncio.CancelledError:
            if not self._is_closed:
                raise
            raise Fenced(f"the writer of model {self._model!r} was closed while it reopened") from None
        finally:
            self._opening_again = None

    async def _open_again(self, messages: tuple[Outgoing, ...]) -> None:
        """Reopen after Kafka has forgotten this writer.

        Kafka does so after a week without writes (``transactional.id.expiration.ms``). It may also have
        forgotten a successor, but not what that one has published.
        """
        log.warning(
            "Kafka no longer knows the writer of model %r, as after a week without writes; it reopens",
            self._model,
        )
        before, sent = self._newest, self._of_own_keys(messages)
        await self._when_there(self._start)
        await self._when_there(self._read)
        if any(value not in (before.get(key), sent.get(key)) for key, value in self._newest.items()):
            raise self._fenced()

    def _fenced(self) -> Fenced:
        return Fenced(
            f"another trainer has taken over model {self._model!r}; this one publishes nothing more"
        )

    def _of_own_keys(self, messages: tuple[Outgoing, ...]) -> dict[bytes, bytes]:
        return {m.key: m.value for m in messages if m.key is not None and m.key in self._decoders}

    @staticmethod
    async def _send(producer: AIOKafkaProducer, messages: tuple[Outgoing, ...]) -> None:
        sent = [
            await producer.send(m.topic, value=m.value, key=m.key, headers=list(m.headers) or None)
            for m in messages
        ]
        await asyncio.gather(*sent)


def _no_coordinator_answers(settings: Settings) -> NoBroker:
    return NoBroker(
        f"no transaction coordinator answers at {settings.bootstrap_servers}; if that Kafka has fewer than "
        "three brokers, set its transaction.state.log.replication.factor to their number"
    )
