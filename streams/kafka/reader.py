"""Reading a topic from its beginning to the end that it has when the reading begins."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from streams.errors import BadInput
from streams.kafka.partitions import partitions_of
from streams.kafka.settings import Settings, consumer_config, no_broker_answers
from streams.messages.stored import StoredMessage

_POLL_MS = 200


class TopicReader:
    """Reads all partitions of a topic from its beginning on, without a group and as often as is asked.

    Only committed messages. Raises BadInput where the topic does not exist or the broker stays silent.
    """

    def __init__(self, settings: Settings, topic: str, *, timeout_s: float = 10.0) -> None:
        self._settings, self._topic, self._timeout_s = settings, topic, timeout_s
        self._partitions = [
            TopicPartition(topic, number) for number in partitions_of(settings, topic, timeout_s)
        ]
        self._consumer = KafkaConsumer(**consumer_config(settings))
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_beginning(*self._partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_up(self, until: Mapping[int, int] | None = None) -> Iterator[StoredMessage]:
        """What has not been read, to the end that the topic has now, or to these offsets of its partitions.

        In the order of each partition; partitions come interleaved. To be iterated to its end. Raises
        BadInput where the broker stays silent for ``timeout_s`` seconds, at the start or on the way.
        """
        try:
            yield from self._read_up(until)
        except (KafkaConnectionError, KafkaTimeoutError):
            raise no_broker_answers(self._settings) from None
        except KafkaError as error:
            raise BadInput(
                f"topic {self._topic!r} at {self._settings.bootstrap_servers} cannot be read: {error}"
            ) from None

    def close(self) -> None:
        """May be called twice."""
        self._consumer.close()

    def _read_up(self, until: Mapping[int, int] | None) -> Iterator[StoredMessage]:
        consumer = self._consumer
        ends = consumer.end_offsets(self._partitions, timeout_ms=int(self._timeout_s * 1000))
        if until is not None:
            ends = {each: min(end, until.get(each.partition, 0)) for each, end in ends.items()}
        consumer.resume(*self._partitions)
        unread = set(self._partitions)
        deadline = time.monotonic() + self._timeout_s
        while unread:
            batches = consumer.poll(timeout_ms=_POLL_MS)
            for records in batches.values():
                # A partition that is read up moves on with what was written meanwhile.
                yield from (stored_message(r) for r in records if r.offset < ends[_partition_of(r)])
            # Compaction and transaction markers leave gaps, so positions are compared and nothing is counted.
            done = {p for p in unread if (consumer.position(p, timeout_ms=_POLL_MS) or 0) >= ends[p]}
            consumer.pause(*done)
            unread -= done
            if batches or done:
                deadline = time.monotonic() + self._timeout_s
            elif time.monotonic() > deadline:
                raise no_broker_answers(self._settings)
        for each, end in ends.items():
            if (consumer.position(each, timeout_ms=_POLL_MS) or 0) > end:
                consumer.seek(each, end)


def read_topic(settings: Settings, topic: str, *, timeout_s: float = 10.0) -> Iterator[StoredMessage]:
    """Every committed message of ``topic``, in the order of its partition; partitions come interleaved.

    Raises BadInput where the topic does not exist, or where the broker stays silent for ``timeout_s``
    seconds, at the start or on the way.
    """
    with TopicReader(settings, topic, timeout_s=timeout_s) as reader:
        yield from reader.read_up()


def stored_message(record: Any) -> StoredMessage:
    """A kafka-python ConsumerRecord as a StoredMessage."""
    return StoredMessage(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value or b"",
        headers=tuple((name, value or b"") for name, value in record.headers),
    )


def _partition_of(record: Any) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
