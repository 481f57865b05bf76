"""``python -m tests.bench.load``: the live trainer under events that keep coming, and what they cost.

Events come at a steady rate, each in a batch of its own, as from a thousand runs. Beyond what the trainer
takes it falls behind, and what it does until it has caught up counts, too. Bytes on the wire are those of the
loopback device, so nobody else may use it: see the example of ``--help``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson
from confluent_kafka import Producer

from streams.errors import BadInput
from streams.kafka.follow import TopicFollower
from streams.kafka.settings import Settings
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import NoKafka, find_kafka
from streams.messages.codec import decode_snapshot
from streams.messages.contracts import Checkpoint, snapshot_key
from streams.messages.stored import StoredMessage
from tests.bench.__main__ import topics_of_its_own
from tests.bench.core import Core
from tests.bench.live import AS_IT_COMES, process_cpu_s, running
from tests.bench.load_table import Cost, LoadRun, as_markdown
from tests.bench.measures import resident_bytes
from tests.bench.workload import Workload, make_workload, of_another_round
from tests.waiting import wait_until
from trainers.pairs.pairing import PairingRules
from tribrain.shell import options

RESULTS = Path(__file__).with_name("LOAD.md")

_MOST_PER_ROUND = 9_000
_WARM_UP_EVENTS = 900
_START_S = 60.0
_CATCH_UP_S = 240.0
_STEP_S = 0.01
_MODEL = PairingRules().model


@click.command(
    epilog="Example, where nobody else uses the loopback device: unshare --map-root-user --net sh -c "
    "'ip link set lo up; python -m tests.bench.load --per-s 1000 --per-s 8000'"
)
@click.option(
    "--per-s",
    "rates",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1_000, 4_000, 8_000),
    show_default=True,
    help="Events a second; several are tried in turn, each on topics of its own.",
)
@click.option(
    "--seconds", type=click.IntRange(min=1), default=120, show_default=True, help="How long they come."
)
@click.option("--batched", is_flag=True, help="Let the sender gather events for 5 ms, as one sender could.")
@click.option("--write", is_flag=True, help="Write tests/bench/LOAD.md.")
@options.as_json
def load(rates: tuple[int, ...], seconds: int, batched: bool, write: bool, as_json: bool) -> None:
    """Send events at a rate, and measure what trainer and broker make of it. Needs Java 17 and /proc."""
    try:
        with tempfile.TemporaryDirectory(prefix="tribrain-load-") as folder:
            runs = list(_runs(rates, seconds, batched, Path(folder)))
    except (BadInput, NoKafka) as error:
        raise click.ClickException(str(error)) from None
    document = as_markdown(runs, datetime.now(UTC))
    click.echo(orjson.dumps(runs) if as_json else document)
    if write:
        RESULTS.write_text(document)
    if lost := [run for run in runs if not run.is_whole]:
        click.echo(f"load: {len(lost)} runs did not end with as many pairs as their events make", err=True)
        sys.exit(1)


def _runs(rates: tuple[int, ...], seconds: int, batched: bool, folder: Path) -> Iterator[LoadRun]:
    data = folder / "kafka"
    with LocalBroker(find_kafka(), data_dir=data) as broker:
        for per_s in rates:
            click.echo(f"{per_s:,} events a second for {seconds} s …", err=True)
            with topics_of_its_own(broker.bootstrap_servers) as settings:
                assert broker.pid is not None
                run = _run(settings, per_s, seconds, batched, broker.pid, data)
            click.echo(f"{run.learnt_per_s:,.0f} a second were learnt", err=True)
            yield run


@dataclass(frozen=True, slots=True)
class _Look:
    """What everybody has used so far."""

    at_s: float
    trainer_cpu_s: float
    broker_cpu_s: float
    sender_cpu_s: float
    wire_bytes: int
    disk_bytes: dict[str, int]

    @classmethod
    def now(cls, settings: Settings, trainer: int, broker: int, data: Path) -> _Look:
        topics = (settings.trace_topic, settings.pairs_topic, settings.closed_runs_topic)
        return cls(
            at_s=time.perf_counter(),
            trainer_cpu_s=process_cpu_s(trainer) or 0.0,
            broker_cpu_s=process_cpu_s(broker) or 0.0,
            sender_cpu_s=time.process_time(),
            wire_bytes=_loopback_bytes(),
            disk_bytes={topic: _log_bytes(data, topic) for topic in topics},
        )


class _Watch:
    """Snapshots and checkpoints as they come; called in the follower's thread."""

    def __init__(self, settings: Settings) -> None:
        self._pairs_topic = settings.pairs_topic
        self.learnt = 0
        """Messages of the pairs topic that the newest snapshot has."""
        self.snapshots: list[int] = []
        self.checkpoints: list[int] = []
        """Bytes of each."""

    def on_message(self, message: StoredMessage) -> None:
        if message.key == snapshot_key(_MODEL).encode():
            snapshot = decode_snapshot(message.value, message.source)
            self.learnt = snapshot.consumed.get(self._pairs_topic, {}).get("0", 0)
            self.snapshots.append(len(message.value))
        elif message.key == snapshot_key(_MODEL, Checkpoint.KIND).encode():
            self.checkpoints.append(len(message.value))


def _run(settings: Settings, per_s: int, seconds: int, batched: bool, broker: int, data: Path) -> LoadRun:
    workload = make_workload(min(per_s * seconds, _MOST_PER_ROUND), seed=0)
    warm_up = make_workload(_WARM_UP_EVENTS, seed=1)
    rounds = -(-per_s * seconds // len(workload.events))
    n_events = rounds * len(workload.events)
    before = _formed(warm_up)
    expected = before + rounds * _formed(workload)
    watch = _Watch(settings)
    log = data.parent / f"{settings.topic_prefix}.log"
    with (
        running(settings, log, AS_IT_COMES) as trainer,
        TopicFollower(settings, (settings.snapshots_topic,), watch.on_message),
    ):
        _send(settings, warm_up, range(1), _WARM_UP_EVENTS, batched=batched)
        wait_until(lambda: watch.learnt >= before, _START_S)
        first = _Look.now(settings, trainer.pid, broker, data)
        n_snapshots = len(watch.snapshots)
        _send(settings, workload, range(1, 1 + rounds), per_s, batched=batched)
        sent_s = time.perf_counter()
        behind = expected - watch.learnt
        with suppress(AssertionError):  # what is missing is told, with all that was found
            wait_until(lambda: watch.learnt >= expected or trainer.poll() is not None, _CATCH_UP_S)
        last = _Look.now(settings, trainer.pid, broker, data)
        trainer_bytes, broker_bytes = resident_bytes(trainer.pid), resident_bytes(broker)
    took_s = last.at_s - first.at_s
    disk = {topic: size - first.disk_bytes[topic] for topic, size in last.disk_bytes.items()}
    return LoadRun(
        per_s=per_s,
        events=n_events,
        batched=batched,
        sent_s=sent_s - first.at_s,
        learnt_s=took_s,
        behind_events=behind / (expected - before) * n_events,
        is_whole=watch.learnt == expected,
        trainer=Cost((last.trainer_cpu_s - first.trainer_cpu_s) / n_events * 1e6, trainer_bytes / 2**20),
        broker=Cost((last.broker_cpu_s - first.broker_cpu_s) / n_events * 1e6, broker_bytes / 2**20),
        sender_us=(last.sender_cpu_s - first.sender_cpu_s) / n_events * 1e6,
        trace_bytes=disk[settings.trace_topic] / n_events,
        pair_bytes=disk[settings.pairs_topic] / (expected - before),
        mark_bytes=disk[settings.closed_runs_topic] / (rounds * workload.runs),
        wire_bytes=(last.wire_bytes - first.wire_bytes) / n_events,
        snapshots_per_s=(len(watch.snapshots) - n_snapshots) / took_s,
        snapshot_bytes=watch.snapshots[-1],
        checkpoint_bytes=max(watch.checkpoints, default=0),
    )


def _formed(workload: Workload) -> int:
    """Messages of the pairs topic that the events make: pairs, and the ends of their runs."""
    settings = Settings(bootstrap_servers="none:1")
    return len(Core(settings).form(workload.messages(settings.trace_topic)))


def _send(settings: Settings, workload: Workload, rounds: range, per_s: int, *, batched: bool) -> None:
    """All of it, at this rate or as fast as Kafka takes it; returns once it is acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "compression.type": "zstd",
            "linger.ms": 5 if batched else 0,
            "batch.num.messages": 10_000 if batched else 1,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    messages = workload.messages(settings.trace_topic)
    began_s = time.perf_counter()
    for nth_round, number in enumerate(rounds):
        for nth, message in enumerate(messages, start=nth_round * len(messages)):
            while (due_s := began_s + nth / per_s) > time.perf_counter():
                time.sleep(max(_STEP_S, due_s - time.perf_counter()))
            value = of_another_round(message.value, workload, number)
            key = of_another_round(message.key or b"", workload, number)
            producer.produce(settings.trace_topic, value, key)
            producer.poll(0)
    if unsent := producer.flush(_CATCH_UP_S):
        raise BadInput(f"Kafka has not acknowledged {unsent} events within {_CATCH_UP_S:g} s")


def _log_bytes(data: Path, topic: str) -> int:
    """Of the segments of all partitions, without their indexes."""
    return sum(segment.stat().st_size for segment in data.glob(f"**/{topic}-[0-9]*/*.log"))


def _loopback_bytes() -> int:
    """What everybody on this computer, or in this network namespace, has sent over loopback."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[0])
    raise BadInput("there is no loopback device to count bytes on")


if __name__ == "__main__":
    load()
