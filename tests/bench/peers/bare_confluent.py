"""librdkafka and nothing around it: a loop that polls both topics in batches."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, Producer

from streams.kafka.settings import Settings
from streams.messages.stored import StoredMessage
from tests.bench.core import Core, stored

_BATCH = 1_000
_POLL_S = 0.05


def main(settings: Settings) -> None:
    core = Core(settings)
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "group.id": f"{settings.topic_prefix}-bare",
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 1_000,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "enable.idempotence": True,
            "compression.type": "zstd",
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.subscribe([settings.trace_topic, settings.pairs_topic])
    while True:
        messages = [_stored(read) for read in consumer.consume(_BATCH, _POLL_S) if read.error() is None]
        core.learn([m for m in messages if m.topic == settings.pairs_topic])
        for outgoing in core.form([m for m in messages if m.topic == settings.trace_topic]):
            producer.produce(outgoing.topic, outgoing.value, outgoing.key, headers=list(outgoing.headers))
        producer.poll(0)
        snapshot = core.due_snapshot()
        if snapshot is not None:
            producer.produce(snapshot.topic, snapshot.value, snapshot.key)


def _stored(read: Any) -> StoredMessage:
    return stored(read.topic(), read.partition(), read.offset(), read.key(), read.value(), read.headers())


if __name__ == "__main__":
    main(Settings.from_environment())
