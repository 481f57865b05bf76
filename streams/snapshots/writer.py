"""The one writer of a reward model's messages on the snapshots topic.

Two learners of the same model must never both publish: a paused one that wakes up would overwrite what its
successor has learnt. Kafka does the fencing. Opening the writer makes every older one with the same
``transactional.id`` useless, and only then are the newest messages read, so nothing can be written between
the reading and the first publication. Readers are ``read_committed``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Generic

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced

from streams.errors import BadInput, Fenced
from streams.fail_points import reach
from streams.kafka.settings import Settings, no_broker_answers
from streams.kafka.topics import has_transactions
from streams.messages.checkpoints import Recovery, decode_checkpoint
from streams.messages.codec import decode_snapshot, decode_snapshot_of
from streams.messages.contracts import Checkpoint, snapshot_key
from streams.messages.limits import MAX_SNAPSHOT_BYTES, topic_bytes
from streams.messages.stored import Outgoing
from streams.snapshots.newest import Decoder, read_newest
from streams.snapshots.serving import Snapshot

log = logging.getLogger(__name__)

_READ_S = 30.0
_TRANSACTION_TIMEOUT_MS = 30_000
_CLOSE_S = 5.0
"""aiokafka would ask a broker that is away for ever."""


class FencedWriter:
    """Publishes what one learner of ``model`` makes, and reads the newest of it.

    ``decoders`` are the keys of which it is the only writer; it is known by the first. ``compression`` is
    Kafka's, which aiokafka does on the event loop. librdkafka's in-memory broker has no fencing, so on it
    there is none.
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

    async def open(self) -> dict[str, Any]:
        """Fence off every older writer, then read: key to what its newest message holds, where it has one.

        May be called again after ``close``. Raises BadInput where the broker stays silent.
        """
        await self.close()
        self._transactional = await asyncio.to_thread(has_transactions, self._settings)
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            compression_type=self._compression,
            max_request_size=topic_bytes(MAX_SNAPSHOT_BYTES),
            transactional_id=self.transactional_id if self._transactional else None,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        )
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            if isinstance(error, KafkaConnectionError) or error.retriable:
                raise no_broker_answers(self._settings) from None
            raise BadInput(f"the snapshots of model {self._model!r} cannot be written: {error}") from None
        self._producer = producer
        newest = await asyncio.to_thread(read_newest, self._settings, self._decoders, _READ_S)
        self._newest = {key: message.value for key, (message, _) in newest.items()}
        return {key.decode(): decoded for key, (_, decoded) in newest.items()}

    async def publish(self, *messages: Outgoing) -> None:
        """Publish all or none, and wait until Kafka has committed them.

        Raises Fenced where another writer has opened, and BadInput for what the topic cannot take.
        """
        for message in messages:
            if len(message.value) > MAX_SNAPSHOT_BYTES:
                raise BadInput(
                    f"a message of model {self._model!r} has {len(message.value)} bytes, and topic "
                    f"{message.topic!r} takes {MAX_SNAPSHOT_BYTES}; give the model fewer critics or contexts"
                )
        try:
            await self._commit(messages)
        except KafkaError as error:
            # An outage has a class of its own. This is aiokafka's word for a sender that has ended.
            if type(error) is not KafkaError:
                raise
            await self._open_again(messages)
            await self._commit(messages)
        self._newest |= self._of_own_keys(messages)

    async def close(self) -> None:
        """Give up writing, within seconds also while the broker is away. May be called twice."""
        producer, self._producer = self._producer, None
        if producer is not None:
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
        try:
            async with self._producer.transaction():
                await self._send(self._producer, messages)
                reach("learner.snapshot-sent")
        except ProducerFenced:
            raise self._fenced() from None

    async def _open_again(self, messages: tuple[Outgoing, ...]) -> None:
        """Kafka forgets a writer that has written nothing for a week (``transactional.id.expiration.ms``).

        Whoever took over meanwhile may be forgotten, too, but not what it has published.
        """
        log.warning(
            "Kafka knows the writer of model %r no more, as after a week; it opens again", self._model
        )
        before, sent = self._newest, self._of_own_keys(messages)
        await self.open()
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


class WriterOf(Generic[Snapshot]):
    """The writer of a model's snapshots of one kind, each of which is its learner's checkpoint, too."""

    def __init__(self, kind: type[Snapshot], settings: Settings, model: str) -> None:
        self._key = snapshot_key(model, kind.KIND)
        self._writer = FencedWriter(
            settings, model, {self._key: partial(decode_snapshot_of, kind)}, compression="gzip"
        )
        self.publish = self._writer.publish
        self.close = self._writer.close

    async def open(self) -> Snapshot | None:
        """The newest snapshot; None where there is none. Otherwise as ``FencedWriter.open``."""
        newest: Snapshot | None = (await self._writer.open()).get(self._key)
        return newest


class SnapshotWriter:
    """The writer of a model's reward snapshots and of its checkpoints."""

    def __init__(self, settings: Settings, model: str) -> None:
        self._snapshots, self._checkpoints = snapshot_key(model), snapshot_key(model, Checkpoint.KIND)
        self._writer = FencedWriter(
            settings,
            model,
            {self._snapshots: decode_snapshot, self._checkpoints: decode_checkpoint},
            compression=None,  # snapshots are small, and checkpoints compressed
        )
        self.publish = self._writer.publish
        self.close = self._writer.close

    async def open(self) -> Recovery:
        """What the model goes on from. Otherwise as ``FencedWriter.open``."""
        newest = await self._writer.open()
        snapshot = newest.get(self._snapshots)
        return Recovery(newest.get(self._checkpoints), snapshot.version if snapshot else 0)
