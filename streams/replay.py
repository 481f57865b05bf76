"""Reading a topic from its beginning to the end that it had when the reading began."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.messages import StoredMessage
from streams.partitions import partitions_of
from streams.settings import Settings, consumer_config, no_broker_answers

_POLL_MS = 200


def read_topic(settings: Settings, topic: str, *, timeout_s: float = 10.0) -> Iterator[StoredMessage]:
    """Every committed message of ``topic``, in the order of its partition; partitions come interleaved.

    Raises BadInput where the topic does not exist, or where the broker stays silent for ``timeout_s``
    seconds, at the start or on the way.
    """
    partitions = [TopicPartition(topic, number) for number in partitions_of(settings, topic, timeout_s)]
    consumer = KafkaConsumer(**consumer_config(settings))
    try:
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions, timeout_ms=int(timeout_s * 1000))
        unread = set(partitions)
        deadline = time.monotonic() + timeout_s
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
                deadline = time.monotonic() + timeout_s
            elif time.monotonic() > deadline:
                raise no_broker_answers(settings)
    except KafkaError as error:
        raise BadInput(f"topic {topic!r} at {settings.bootstrap_servers} cannot be read: {error}") from None
    finally:
        consumer.close()


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
