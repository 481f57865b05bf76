"""Records to Kafka, until it has acknowledged them or will never take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

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

from streams.kafka.settings import Settings, producer_config
from streams.messages.stored import Record

_WAIT_S = 0.5
_CLOSE_PRODUCER_S = 1.0
# The record is at fault, not the broker: sending it again would fail again.
_POISON = (
    CorruptRecordError,
    InvalidRecordError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
R = TypeVar("R", bound=Record)


class RecordSender:
    """Owns a Kafka producer, which it makes when there is something to send; for one thread.

    While it waits for Kafka it asks ``give_up`` twice a second.
    """

    def __init__(self, settings: Settings, give_up: Callable[[], bool]) -> None:
        self._settings = settings
        self._give_up = give_up
        self._producer: KafkaProducer | None = None

    def deliver(
        self,
        records: Sequence[R],
        *,
        on_acknowledged: Callable[[Sequence[R]], None],
        on_refused: Callable[[R, str], None],
    ) -> None:
        """Send the records in their order; each is either acknowledged or refused, with the reason.

        Raises KafkaError where Kafka gave no answer: the records after the last of which the caller heard
        are to be sent again, which keeps the order within a run.
        """
        acknowledged, error = self._send(records)
        if acknowledged:
            on_acknowledged(records[:acknowledged])
        if error is None:
            return
        # After most errors the producer would never send again.
        self.close()
        if not isinstance(error, _POISON):
            raise error
        if len(records) == 1:
            on_refused(records[0], f"{len(records[0].value)} bytes: {error}")
            return
        # One such record fails the whole Kafka batch that it is in: look at each by itself.
        for record in records[acknowledged:]:
            self.deliver([record], on_acknowledged=on_acknowledged, on_refused=on_refused)

    def close(self) -> None:
        """Drop the producer and whatever it has not sent. The next ``deliver`` makes another."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=0)
        except KafkaTimeoutError:
            # With records unsent, close() raises before it stops its thread; this makes it drop them.
            producer._sender.force_close()
            with suppress(KafkaTimeoutError):
                producer.close(timeout=_CLOSE_PRODUCER_S)

    def _send(self, records: Sequence[R]) -> tuple[int, KafkaError | None]:
        """How many records from the front on are acknowledged, and the error of the next."""
        futures = []
        error: KafkaError | None = None
        try:
            if self._producer is None:
                self._producer = KafkaProducer(**producer_config(self._settings))
            for record in records:
                futures.append(self._producer.send(record.topic, record.value, record.key))
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
