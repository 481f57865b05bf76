"""Faust as its documentation shows it: two agents, an event at a time, Faust's own acknowledgements."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import faust

from streams.kafka.settings import Settings
from tests.bench.core import SNAPSHOT_EVERY_S, Core, stored


def build(settings: Settings) -> faust.App:
    app = faust.App(
        f"{settings.topic_prefix}-plain-faust",
        broker=f"kafka://{settings.bootstrap_servers}",
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_enabled=False,
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="tribrain-bench-"),
    )
    core = Core(settings)

    def topic(name: str) -> Any:
        return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    pairs, snapshots = topic(settings.pairs_topic), topic(settings.snapshots_topic)

    @app.agent(topic(settings.trace_topic), name="former")
    async def former(stream: Any) -> None:
        async for event in stream.events():
            for outgoing in core.form([_stored(event.message)]):
                await pairs.send(key=outgoing.key, value=outgoing.value, headers=list(outgoing.headers))

    @app.agent(pairs, name="learner")
    async def learner(stream: Any) -> None:
        async for event in stream.events():
            core.learn([_stored(event.message)])

    @app.timer(interval=SNAPSHOT_EVERY_S)
    async def publish() -> None:
        snapshot = core.due_snapshot()
        if snapshot is not None:
            await snapshots.send(key=snapshot.key, value=snapshot.value)

    return app


def _stored(message: Any) -> Any:
    return stored(
        message.topic, message.partition, message.offset, message.key, message.value, message.headers
    )


async def main(settings: Settings) -> None:
    app = build(settings)
    await app.start()
    await app.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main(Settings.from_environment()))
