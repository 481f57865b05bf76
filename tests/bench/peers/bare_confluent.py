"""librdkafka and nothing around it: a loop that polls both topics in batches."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer

from streams.kafka.settings import Settings
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
        for read in consumer.consume(_BATCH, _POLL_S):
            if read.error() is not None:
                continue
            message = stored(read.topic(), read.partition(), read.offset(), read.key(), read.value())
            if message.topic == settings.pairs_topic:
                core.learn(message)
            else:
                for outgoing in core.form(message):
                    producer.produce(outgoing.topic, outgoing.value, outgoing.key)
        producer.poll(0)
        snapshot = core.due_snapshot()
        if snapshot is not None:
            producer.produce(snapshot.topic, snapshot.value, snapshot.key)


if __name__ == "__main__":
    main(Settings.from_environment())
