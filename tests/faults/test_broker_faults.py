"""The broker goes, comes back, loses its answers or fills its disk while runs publish and a worker learns."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import KafkaJars
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from streams.snapshots.feed import read_latest_snapshot
from streams.spool.publisher import TracePublisher
from tests.faults.brokers import RestartableBroker
from tests.faults.disks import fill, small_disk
from tests.faults.proxy import AnswerLosingProxy
from tests.faults.recovery import check, recovery
from tests.kafka.test_trainer import interleaved, random_runs, wait_for_version
from tests.ports import free_port
from tests.services import trainer
from tests.waiting import let_time_pass, wait_until
from tribrain.shell.supervisor import ServiceProcess

_WAIT_S = 60.0
_GOES_ON_S = 10.0


def push(publisher: TracePublisher, messages: Sequence[TraceEvent | RunEnd]) -> None:
    for message in messages:
        publisher.push(message)


def learns_on(settings: Settings, worker: ServiceProcess, than: int) -> bool:
    """Whether there is a newer snapshot; a worker that has died is started again, as the demo does."""
    worker.keep_alive()
    latest = read_latest_snapshot(settings, "default")
    return latest is not None and latest.version > than


@pytest.mark.parametrize("times", [2, pytest.param(5, marks=pytest.mark.long)])
def test_a_broker_that_is_killed_and_started_again_loses_nothing_and_learning_goes_on_within_10_s(
    times: int, broker: RestartableBroker, tmp_path: Path
) -> None:
    settings = broker.settings
    runs = random_runs(20 * (times + 1), seed=51)
    parts = [interleaved(runs[20 * n : 20 * n + 20], seed=52 + n) for n in range(times + 1)]
    with (
        ServiceProcess(settings, ["serve-trainer"], tmp_path / "trainer.log") as worker,
        TracePublisher(settings, tmp_path / "spool.sqlite") as publisher,
    ):
        version = 0
        for part in parts[:-1]:
            with broker.up() as running:
                push(publisher, part[: len(part) // 2])
                wait_until(partial(learns_on, settings, worker, version), _WAIT_S)
                latest = read_latest_snapshot(settings, "default")
                version = latest.version if latest else version
                assert running.pid is not None
                os.kill(running.pid, signal.SIGKILL)
                push(publisher, part[len(part) // 2 :])
        with broker.up():
            push(publisher, parts[-1])
            assert publisher.flush(_GOES_ON_S) == 0
            wait_until(lambda: learns_on(settings, worker, version), _GOES_ON_S)
            check(recovery(settings, runs))


def were_sent_again(size: int, earlier: bytes, later: bytes) -> bool:
    """Whether some ``size`` bytes of ``earlier`` are in ``later`` again."""
    return any(earlier[start : start + size] in later for start in range(0, len(earlier) - size, size // 4))


def test_events_whose_acknowledgements_are_lost_for_two_seconds_are_sent_again_and_learnt_once(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    broker_port, proxy_port = free_port(), free_port()
    settings = Settings(bootstrap_servers=f"127.0.0.1:{proxy_port}")
    runs = random_runs(60, seed=55)
    messages = interleaved(runs, seed=56)
    half = len(messages) // 2
    with (
        AnswerLosingProxy(proxy_port, broker_port) as proxy,
        LocalBroker(kafka_jars, port=broker_port, advertised_port=proxy_port),
    ):
        create_topics(settings)
        with TracePublisher(settings, tmp_path / "spool.sqlite") as publisher:
            push(publisher, messages[:half])
            assert publisher.flush(_WAIT_S) == 0
            proxy.requests_after.clear()
            proxy.mute()
            push(publisher, messages[half:])
            let_time_pass(2.0)
            proxy.unmute()
            assert publisher.flush(_WAIT_S) == 0
        # More than the names that every request carries.
        assert were_sent_again(200, bytes(proxy.requests_while_muted), bytes(proxy.requests_after))
        assert proxy.lost_bytes > 0
        on_kafka = {message.value for message in read_topic(settings, settings.trace_topic)}
        assert on_kafka == {encode(message) for message in messages}
        with trainer(settings):
            check(recovery(settings, runs))


@pytest.mark.long
def test_a_full_disk_under_the_broker_stops_no_run_and_loses_nothing(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    runs = random_runs(40, seed=57)
    before, after = interleaved(runs[:20], seed=58), interleaved(runs[20:], seed=59)
    with small_disk(tmp_path / "small", megabytes=160) as disk:
        broker = RestartableBroker(kafka_jars, disk / "kafka")
        settings = broker.settings
        with TracePublisher(settings, tmp_path / "spool.sqlite") as publisher:
            with broker.up(), ServiceProcess(settings, ["serve-trainer"], tmp_path / "first.log"):
                push(publisher, before)
                wait_for_version(settings, 10)
                checkpoint = read_latest_snapshot(settings, "default")
                assert checkpoint is not None
                filler = fill(disk)
                push(publisher, after)
                wait_until(lambda: publisher.problem, _WAIT_S)
                assert publisher.flush(0.0) > 0
                assert publisher.refused == {}
            said = (tmp_path / "first.log").read_text()
            assert "Error" in said or "gave up" in said
            filler.unlink()
            with broker.up():
                restored = read_latest_snapshot(settings, "default")
                assert restored is not None
                assert restored.version >= checkpoint.version
                assert publisher.flush(_WAIT_S) == 0
                with trainer(settings):
                    check(recovery(settings, runs))
