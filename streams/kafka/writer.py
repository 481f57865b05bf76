"""Writes messages to Kafka, each acknowledged or refused: in batches, or one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from kafka import KafkaProducer
from kafka.errors import (
    CorruptRecordError,
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from kafka.producer.future import FutureRecordMetadata

from streams.errors import BadInput
from streams.kafka.settings import Settings, producer_config
from streams.messages.limits import MAX_PAIR_BYTES, topic_bytes
from streams.messages.stored import Headers, Outgoing

_WAIT_S = 0.5
_CLOSE_S = 1.0
# The message is at fault, not the broker: sending it again would fail again.
_POISON = (
    CorruptRecordError,
    InvalidRecordError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)


class Message(Protocol):
    """A message that can be written, and its destination."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def partition(self) -> int | None: ...


M = TypeVar("M", bound=Message)


class TopicWriter:
    """Owns a Kafka producer, created when there is something to send; for one thread.

    While it waits for Kafka it calls ``give_up`` twice a second. ``config`` holds further settings of
    kafka-python.
    """

    def __init__(
        self, settings: Settings, give_up: Callable[[], bool] = lambda: False, **config: Any
    ) -> None:
        self._config = producer_config(settings) | config
        self._give_up = give_up
        self._producer: KafkaProducer | None = None

    def deliver(
        self,
        messages: Sequence[M],
        *,
        on_acknowledged: Callable[[Sequence[M]], None],
        on_refused: Callable[[M, str], None],
    ) -> None:
        """Send the messages in order; each is either acknowledged or refused, with the reason.

        Raises KafkaError if Kafka gave no answer. The caller must then resend all messages after the last one
        reported, which keeps the order within a run.
        """
        try:
            acknowledged, error = self._send(messages)
        except BaseException:
            self.close()
            raise
        if acknowledged:
            on_acknowledged(messages[:acknowledged])
        if error is None:
            return
        # After most errors the producer would never send anything again.
        self.close()
        if not isinstance(error, _POISON):
            raise error
        if len(messages) == 1:
            on_refused(messages[0], f"{len(messages[0].value)} bytes: {error}")
            return
        # One bad message fails its whole Kafka batch: send each by itself.
        for message in messages[acknowledged:]:
            self.deliver([message], on_acknowledged=on_acknowledged, on_refused=on_refused)

    def close(self) -> None:
        """Drop the producer and its unsent messages. The next ``deliver`` creates another."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=0)
        except KafkaTimeoutError:
            # With unsent messages, close() raises before it stops its thread; this makes it drop them.
            producer._sender.force_close()
            with suppress(KafkaTimeoutError):
                producer.close(timeout=_CLOSE_S)
        # Its sockets are closed only when its thread ends.
        producer._sender.join(_CLOSE_S)

    def _send(self, messages: Sequence[M]) -> tuple[int, KafkaError | None]:
        """The number of acknowledged messages, counted from the first, and the error of the next one."""
        futures = []
        error: KafkaError | None = None
        try:
            if self._producer is None:
                self._producer = KafkaProducer(**self._config)
            for m in messages:
                futures.append(
                    self._producer.send(m.topic, m.value, m.key, list(m.headers), partition=m.partition)
                )
        except KafkaError as raised:
            error = raised
        for acknowledged, future in enumerate(futures):
            try:
                self._wait(future)
            except KafkaError as raised:
                return acknowledged, raised
        return len(futures), error

    def _wait(self, future: FutureRecordMetadata) -> None:
        while True:
            try:
                future.get(timeout=_WAIT_S)
                return
            except KafkaTimeoutError:
                # Either the message's timeout (delivery_timeout_ms) or only that of this get().
                if future.is_done or self._give_up():
                    raise


def produce(settings: Settings, messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
    """Write the messages one after the other; yields each once Kafka has it, before sending the next.

    Raises BadInput if Kafka does not accept one, or no broker answers.
    """

    def refused(_: Outgoing, reason: str) -> None:
        raise BadInput(f"{settings.bootstrap_servers} did not accept a message: {reason}")

    # The largest message of any topic; the broker refuses those that are too large for theirs.
    writer = TopicWriter(settings, linger_ms=0, max_request_size=topic_bytes(MAX_PAIR_BYTES))
    try:
        for message in messages:
            writer.deliver([message], on_acknowledged=lambda _: None, on_refused=refused)
            yield message
    except KafkaError as error:
        raise BadInput(f"{settings.bootstrap_servers} did not accept a message: {error}") from None
    finally:
        writer.close()
