"""A bytewax dataflow, in batches: trace to pairs, pairs to the learner, and a clock for its snapshots."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.inputs import SimplePollingSource
from bytewax.run import cli_main

from streams.kafka.settings import Settings
from streams.messages.stored import Outgoing
from tests.bench.core import SNAPSHOT_EVERY_S, Core, stored

_PRODUCER = {"compression.type": "zstd", "linger.ms": "5"}


class _Clock(SimplePollingSource[float, None]):
    def next_item(self) -> float:
        return time.monotonic()


def build(settings: Settings) -> Dataflow:
    core = Core(settings)
    brokers = settings.bootstrap_servers.split(",")

    def form(batch: list[Any]) -> Iterable[Any]:
        return [_to_sink(outgoing) for outgoing in core.form(map(_stored, batch))]

    def learn(batch: list[Any]) -> Iterable[Any]:
        core.learn([_stored(message) for message in batch])
        return []

    def publish(_: list[float]) -> Iterable[Any]:
        snapshot = core.due_snapshot()
        return [] if snapshot is None else [_to_sink(snapshot)]

    flow = Dataflow("bench")
    trace = kafka.input("trace", flow, brokers=brokers, topics=[settings.trace_topic], batch_size=1_000)
    pairs = kafka.input("pairs", flow, brokers=brokers, topics=[settings.pairs_topic], batch_size=1_000)
    ticks = op.input("clock", flow, _Clock(timedelta(seconds=SNAPSHOT_EVERY_S)))
    formed = op.flat_map_batch("form", trace.oks, form)
    nothing = op.flat_map_batch("learn", pairs.oks, learn)
    snapshots = op.flat_map_batch("publish", ticks, publish)
    for name, stream, topic in (
        ("to_pairs", op.merge("made", formed, nothing), settings.pairs_topic),
        ("to_snapshots", snapshots, settings.snapshots_topic),
    ):
        kafka.output(name, stream, brokers=brokers, topic=topic, add_config=_PRODUCER)
    return flow


def _stored(read: Any) -> Any:
    return stored(read.topic, read.partition, read.offset, read.key, read.value, read.headers)


def _to_sink(outgoing: Outgoing) -> Any:
    return KafkaSinkMessage(outgoing.key, outgoing.value, headers=list(outgoing.headers))


if __name__ == "__main__":
    cli_main(build(Settings.from_environment()))
