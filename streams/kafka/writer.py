"""Messages to Kafka, each acknowledged or refused: in batches, or a few one after the other."""

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
    """What can be written: the bytes, and where they go."""

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
    """Owns a Kafka producer, which it makes when there is something to send; for one thread.

    While it waits for Kafka it asks ``give_up`` twice a second. ``config`` are more of kafka-python's own
    settings.
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
        """Send the messages in their order; each is either acknowledged or refused, with the reason.

        Raises KafkaError where Kafka gave no answer: the messages after the last of which the caller heard
        are to be sent again, which keeps the order within a run.
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
        # After most errors the producer would never send again.
        self.close()
        if not isinstance(error, _POISON):
            raise error
        if len(messages) == 1:
            on_refused(messages[0], f"{len(messages[0].value)} bytes: {error}")
            return
        # One such message fails the whole Kafka batch that it is in: look at each by itself.
        for message in messages[acknowledged:]:
            self.deliver([message], on_acknowledged=on_acknowledged, on_refused=on_refused)

    def close(self) -> None:
        """Drop the producer and whatever it has not sent. The next ``deliver`` makes another."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=0)
        except KafkaTimeoutError:
            # With messages unsent, close() raises before it stops its thread; this makes it drop them.
            producer._sender.force_close()
            with suppress(KafkaTimeoutError):
                producer.close(timeout=_CLOSE_S)
        # Only then its sockets are closed.
        producer._sender.join(_CLOSE_S)

    def _send(self, messages: Sequence[M]) -> tuple[int, KafkaError | None]:
        """How many messages from the front on are acknowledged, and the error of the next."""
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
                # Either its own (delivery_timeout_ms is over) or only that of this get().
                if future.is_done or self._give_up():
                    raise


def produce(settings: Settings, messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
    """Write the messages one after the other; yields each once Kafka has it, before the next is sent.

    Raises BadInput where Kafka does not take one, or no broker answers.
    """

    def refused(_: Outgoing, reason: str) -> None:
        raise BadInput(f"{settings.bootstrap_servers} did not take a message: {reason}")

    # The largest of all messages; what is too large for its topic the broker refuses.
    writer = TopicWriter(settings, linger_ms=0, max_request_size=topic_bytes(MAX_PAIR_BYTES))
    try:
        for message in messages:
            writer.deliver([message], on_acknowledged=lambda _: None, on_refused=refused)
            yield message
    except KafkaError as error:
        raise BadInput(f"{settings.bootstrap_servers} did not take a message: {error}") from None
    finally:
        writer.close()
