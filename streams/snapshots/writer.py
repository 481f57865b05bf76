"""The one writer of a reward model's snapshots, which are the learner's checkpoints, too.

Two learners of the same model must never both publish: a paused one that wakes up would overwrite what its
successor has learnt. Kafka does the fencing. Opening the writer makes every older one with the same
``transactional.id`` useless, and only then is the newest snapshot read, so nothing can be written between
the reading and the first publication. Readers are ``read_committed``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Generic

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced

from streams.errors import BadInput, Fenced
from streams.fail_points import reach
from streams.kafka.settings import Settings, no_broker_answers
from streams.kafka.topics import has_transactions
from streams.messages.codec import encode
from streams.messages.contracts import RewardSnapshot, snapshot_key
from streams.messages.limits import MAX_SNAPSHOT_BYTES, topic_bytes
from streams.messages.stored import Outgoing
from streams.snapshots.feed import read_latest_of
from streams.snapshots.serving import Snapshot

log = logging.getLogger(__name__)

_READ_S = 30.0
_TRANSACTION_TIMEOUT_MS = 30_000
_CLOSE_S = 5.0
"""aiokafka would ask a broker that is away for ever."""


class WriterOf(Generic[Snapshot]):
    """Reads the newest snapshot of one kind of ``model`` and publishes the next ones.

    librdkafka's in-memory broker has no fencing, so on it there is none.
    """

    def __init__(self, kind: type[Snapshot], settings: Settings, model: str) -> None:
        self._kind = kind
        self._settings = settings
        self._model = model
        self._producer: AIOKafkaProducer | None = None
        self._transactional = True
        self._newest: bytes | None = None

    async def open(self) -> Snapshot | None:
        """Fence off every older writer, then read the newest snapshot; None where there is none.

        May be called again after ``close``. Raises BadInput where the broker stays silent.
        """
        await self.close()
        loop = asyncio.get_running_loop()
        self._transactional = await loop.run_in_executor(None, has_transactions, self._settings)
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            compression_type="gzip",
            max_request_size=topic_bytes(MAX_SNAPSHOT_BYTES),
            transactional_id=self.transactional_id if self._transactional else None,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        )
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            if isinstance(error, KafkaConnectionError):
                raise no_broker_answers(self._settings) from None
            raise BadInput(f"the snapshots of model {self._model!r} cannot be written: {error}") from None
        self._producer = producer
        newest = await loop.run_in_executor(
            None, lambda: read_latest_of(self._kind, self._settings, self._model, timeout_s=_READ_S)
        )
        self._newest = encode(newest) if newest is not None else None
        return newest

    async def publish(self, snapshot: Outgoing) -> None:
        """Publish and wait until Kafka has committed it. Raises Fenced where another writer has opened."""
        try:
            await self._commit(snapshot)
        except KafkaError as error:
            # An outage has a class of its own. This is aiokafka's word for a sender that has ended.
            if type(error) is not KafkaError:
                raise
            await self._open_again(snapshot)
            await self._commit(snapshot)
        if snapshot.key == self._key:
            self._newest = snapshot.value

    async def _commit(self, snapshot: Outgoing) -> None:
        if self._producer is None:
            raise RuntimeError("open() comes before publish()")
        if not self._transactional:
            await self._send(self._producer, snapshot)
            return
        try:
            async with self._producer.transaction():
                await self._send(self._producer, snapshot)
                reach("learner.snapshot-sent")
        except ProducerFenced:
            raise self._fenced() from None

    async def _open_again(self, snapshot: Outgoing) -> None:
        """Kafka forgets a writer that has written nothing for a week (``transactional.id.expiration.ms``).

        Whoever took over meanwhile may be forgotten, too, but not what it has published.
        """
        log.warning(
            "Kafka knows the writer of model %r no more, as after a week; it opens again", self._model
        )
        ours = (self._newest, snapshot.value)
        await self.open()
        if self._newest not in ours:
            raise self._fenced()

    def _fenced(self) -> Fenced:
        return Fenced(
            f"another trainer has taken over model {self._model!r}; this one publishes nothing more"
        )

    async def close(self) -> None:
        """Give up writing, within seconds also while the broker is away. May be called twice."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(producer.stop(), _CLOSE_S)

    @property
    def transactional_id(self) -> str:
        return f"{self._settings.topic_prefix}.{self._key.decode()}"

    @property
    def _key(self) -> bytes:
        return snapshot_key(self._model, self._kind.KIND).encode()

    async def _send(self, producer: AIOKafkaProducer, snapshot: Outgoing) -> None:
        await producer.send_and_wait(
            snapshot.topic, value=snapshot.value, key=snapshot.key, headers=list(snapshot.headers) or None
        )


class SnapshotWriter(WriterOf[RewardSnapshot]):
    """The writer of a model's reward snapshots."""

    def __init__(self, settings: Settings, model: str) -> None:
        super().__init__(RewardSnapshot, settings, model)


def base_of(snapshot: RewardSnapshot, topic: str) -> Outgoing:
    """The snapshot once more, under a key of its own, so that compaction keeps it.

    What is learnt from a topic that was made again can be computed again only from this and that topic.
    """
    key = f"{snapshot.model}/base/{snapshot.checksum}"
    return Outgoing(topic, key.encode(), encode(snapshot))
