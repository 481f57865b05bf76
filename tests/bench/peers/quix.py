"""Quix Streams with its RocksDB state: what the trainer holds of a run is kept in it, by the run's key."""

from __future__ import annotations

import tempfile
import threading
from typing import Any

from quixstreams import Application, message_context

from streams.kafka.settings import Settings
from tests.bench.core import SNAPSHOT_EVERY_S, Core, stored


def main(settings: Settings) -> None:
    core, lock = Core(settings), threading.Lock()
    app = Application(
        broker_address=settings.bootstrap_servers,
        consumer_group=f"{settings.topic_prefix}-quix",
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=tempfile.mkdtemp(prefix="tribrain-bench-"),
        producer_extra_config={"compression.type": "zstd", "linger.ms": 5},
        consumer_poll_timeout=0.05,
        loglevel="WARNING",
    )

    def topic(name: str) -> Any:
        return app.topic(
            name,
            key_deserializer="bytes",
            value_deserializer="bytes",
            key_serializer="bytes",
            value_serializer="bytes",
        )

    def form(value: bytes, key: bytes, timestamp: int, headers: Any, state: Any) -> list[Any]:
        context = message_context()
        first = state.get("first")
        if first is None:
            state.set("first", context.offset)
        state.set("last", context.offset)
        return core.form([stored(context.topic, context.partition, context.offset, key, value)])

    def learn(value: bytes, key: bytes, timestamp: int, headers: Any) -> None:
        context = message_context()
        with lock:
            core.learn([stored(context.topic, context.partition, context.offset, key, value)])

    def publish() -> None:
        with app.get_producer() as producer:
            while not threading.Event().wait(SNAPSHOT_EVERY_S):
                with lock:
                    snapshot = core.due_snapshot()
                if snapshot is not None:
                    producer.produce(snapshot.topic, snapshot.value, snapshot.key)
                    producer.poll(0)

    pairs = topic(settings.pairs_topic)
    formed = app.dataframe(topic(settings.trace_topic)).apply(form, stateful=True, metadata=True, expand=True)
    formed.apply(lambda outgoing: outgoing.value).to_topic(pairs)
    app.dataframe(pairs).update(learn, metadata=True)
    threading.Thread(target=publish, daemon=True).start()
    app.run()


if __name__ == "__main__":
    main(Settings.from_environment())
