"""Faults of connections, on a Kafka that asks who you are: what holds on any other holds there."""

from __future__ import annotations

import os
import signal
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from streams.kafka.reader import read_topic
from streams.kafka.topics import create_topics
from streams.local_broker.jars import KafkaJars
from streams.messages.codec import encode
from streams.snapshots.feed import read_latest_snapshot
from streams.spool.publisher import TracePublisher
from tests.faults.proxy import AnswerLosingProxy
from tests.faults.recovery import check, recovery
from tests.faults.test_broker_faults import learns_on, push
from tests.kafka.test_trainer import interleaved, random_runs, wait_for_version
from tests.ports import free_port
from tests.secured.broker import PASSWORD, SecuredBroker
from tests.services import security_variables, trainer
from tests.waiting import let_time_pass, wait_until
from tribrain.shell.supervisor import ServiceProcess

_WAIT_S = 60.0
_GOES_ON_S = 10.0


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.long)])
def test_a_broker_that_is_killed_and_started_again_loses_nothing_and_learning_goes_on_within_10_s(
    times: int, kafka_jars: KafkaJars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = SecuredBroker(kafka_jars, tmp_path, data_dir=tmp_path / "kafka")
    runs = random_runs(20 * (times + 1), seed=81)
    parts = [interleaved(runs[20 * n : 20 * n + 20], seed=82 + n) for n in range(times + 1)]
    with broker.broker:
        create_topics(broker.open)
        learner = broker.allowed("serve trainer", "tribrain")
        runner = broker.allowed("run simulated", "tribrain")
    for name, value in security_variables(learner).items():
        monkeypatch.setenv(name, value)
    with (
        ServiceProcess(learner, ["serve-trainer"], tmp_path / "trainer.log") as worker,
        TracePublisher(runner, tmp_path / "spool.sqlite") as publisher,
    ):
        version = 0
        for part in parts[:-1]:
            with broker.broker as running:
                push(publisher, part[: len(part) // 2])
                wait_until(lambda: learns_on(broker.open, worker, version), _WAIT_S)  # noqa: B023
                latest = read_latest_snapshot(broker.open, "default")
                version = latest.version if latest else version
                assert running.pid is not None
                os.kill(running.pid, signal.SIGKILL)
                push(publisher, part[len(part) // 2 :])
        with broker.broker:
            push(publisher, parts[-1])
            assert publisher.flush(_GOES_ON_S) == 0
            wait_until(lambda: learns_on(broker.open, worker, version), _GOES_ON_S)
            check(recovery(broker.open, runs))


@pytest.mark.long
def test_answers_that_are_lost_and_connections_that_are_cut_lose_and_double_nothing(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    proxy_port = free_port()
    broker = SecuredBroker(kafka_jars, tmp_path, through=proxy_port)
    runs = random_runs(40, seed=85)
    messages = interleaved(runs, seed=86)
    quarter = len(messages) // 4
    with AnswerLosingProxy(proxy_port, broker.port) as proxy, broker.broker:
        create_topics(broker.open)
        with (
            trainer(broker.allowed("serve trainer", "tribrain")) as worker,
            TracePublisher(
                broker.allowed("run simulated", "tribrain"), tmp_path / "spool.sqlite"
            ) as publisher,
        ):
            push(publisher, messages[:quarter])
            wait_for_version(broker.open, 1)
            for n in (1, 2, 3):
                proxy.mute()
                push(publisher, messages[quarter * n : quarter * (n + 1) if n < 3 else None])
                let_time_pass(1.0)
                proxy.unmute()
            assert publisher.flush(_WAIT_S) == 0
            check(recovery(broker.open, runs))
            assert worker.poll() is None, worker.said
        assert proxy.lost_bytes > 0
        on_kafka = {message.value for message in read_topic(broker.open, broker.open.trace_topic)}
        assert on_kafka == {encode(message) for message in messages}


@pytest.mark.long
def test_a_password_that_is_changed_ends_a_trainer_with_one_line_and_events_wait_for_it(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    broker = SecuredBroker(kafka_jars, tmp_path, session_ms=2_000)
    runs = random_runs(20, seed=87)
    messages = interleaved(runs, seed=88)
    with broker.broker:
        prefix = f"test-{uuid.uuid4().hex[:8]}"
        seen = replace(broker.open, topic_prefix=prefix)
        create_topics(seen)
        learner, runner = broker.allowed("serve trainer", prefix), broker.allowed("run simulated", prefix)
        with TracePublisher(runner, tmp_path / "spool.sqlite") as publisher:
            with trainer(learner) as worker:
                push(publisher, messages[: len(messages) // 2])
                wait_for_version(seen, 1)
                for user in (learner, runner):
                    broker.change_password(user.security.username, "another")
                assert worker.wait(_WAIT_S) == 2
            said = worker.said.splitlines()[-1]
            assert "does not let user 'serve-trainer-" in said
            assert said.endswith("; check sasl.username and sasl.password")
            push(publisher, messages[len(messages) // 2 :])
            assert publisher.flush(3.0) > 0
            for user in (learner, runner):
                broker.change_password(user.security.username, str(PASSWORD))
            with trainer(learner):
                assert publisher.flush(_WAIT_S) == 0
                check(recovery(seen, runs))
