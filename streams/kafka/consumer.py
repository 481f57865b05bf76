"""kafka-python's consumer as this project uses it: without a group, reading only committed messages."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streams.kafka.header_names import tolerate_in_kafka_python
from streams.kafka.settings import Settings, consumer_config
from streams.messages.stored import LogRecord, StoredMessage, log_record, stored_message

POLL_MS = 200


class Consumer:
    """Polls for messages and reports positions; for one thread. Every method raises KafkaError.

    An open consumer is closed when the process ends. Later kafka-python's own thread would be gone, and its
    ``close`` would wait indefinitely.
    """

    def __init__(self, settings: Settings) -> None:
        tolerate_in_kafka_python()
        self._consumer = KafkaConsumer(**consumer_config(settings))
        self._close = weakref.finalize(self, self._consumer.close)

    def close(self) -> None:
        """Close the consumer. May be called twice."""
        self._close()

    def connect(self) -> None:
        """Return once a broker answers, however long that takes."""
        self._consumer.bootstrap()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions, each from its beginning unless ``seek`` sets another offset."""
        self._consumer.assign(list(partitions))

    def subscribe(self, topics: Iterable[str]) -> None:
        """Read every partition of these topics from its beginning, including topics created later."""
        self._consumer.subscribe(list(topics))

    def assignment(self) -> set[TopicPartition]:
        return set(self._consumer.assignment())

    def poll(self) -> dict[TopicPartition, list[StoredMessage]]:
        """New messages by partition, no list empty; returns empty after 0.2 s without a message."""
        return {each: list(map(stored_message, records)) for each, records in self._poll().items()}

    def poll_as_written(self) -> dict[TopicPartition, list[LogRecord]]:
        """Like ``poll``, but keeps null keys and values."""
        return {each: list(map(log_record, records)) for each, records in self._poll().items()}

    def _poll(self) -> dict[TopicPartition, list[Any]]:
        polled: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=POLL_MS)
        return polled

    def ends(self, partitions: Iterable[TopicPartition], timeout_s: float) -> dict[TopicPartition, int]:
        """The offset after the last committed message of each partition, as the broker reports it."""
        ends: dict[TopicPartition, int] = self._consumer.end_offsets(
            list(partitions), timeout_ms=int(timeout_s * 1000)
        )
        return ends

    def position(self, partition: TopicPartition) -> int:
        """The offset to be read next; 0 while it is unknown."""
        return self._consumer.position(partition, timeout_ms=POLL_MS) or 0

    def seek(self, offsets: Mapping[TopicPartition, int | None]) -> None:
        """Continue at these offsets; None means the beginning."""
        for partition, offset in offsets.items():
            if offset is None:
                self._consumer.seek_to_beginning(partition)
            else:
                self._consumer.seek(partition, offset)

    def read_only(self, partitions: Iterable[TopicPartition]) -> None:
        """Pause all assigned partitions except these."""
        chosen = set(partitions)
        self._consumer.pause(*self.assignment() - chosen)
        self._consumer.resume(*chosen)
