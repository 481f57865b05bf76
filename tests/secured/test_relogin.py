"""Sessions that end while runs publish and a trainer learns: nothing is lost, and nothing doubled.

kafka-python logs in again on the same connection before its session ends. aiokafka does not: the broker ends
its connections, and each new one asks for a token anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher

from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.local_broker.jars import KafkaJars
from streams.spool.publisher import TracePublisher
from tests.faults.recovery import check, recovery
from tests.faults.test_broker_faults import push
from tests.kafka.test_trainer import interleaved, random_runs, wait_for_version
from tests.secured.broker import SecuredBroker
from tests.secured.tokens import TokenCommand
from tests.services import service
from tests.waiting import let_time_pass, wait_until
from tribrain.shell.kafka_access import rights_of

_WAIT_S = 60.0
_SHORT_S = 2.0
_STOP_S = 20.0


@pytest.fixture(scope="module")
def hasty(kafka_jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """Its sessions end after two seconds."""
    broker = SecuredBroker(kafka_jars, tmp_path_factory.mktemp("hasty"), session_ms=int(1000 * _SHORT_S))
    with broker.broker:
        yield broker


def _note(logger: str, file: Path) -> None:
    """In the trainer's process: what this logger of aiokafka says."""
    logging.getLogger(logger).setLevel(logging.INFO)
    logging.getLogger(logger).addHandler(logging.FileHandler(file))


def _survive(broker: SecuredBroker, folder: Path, times: int, session_s: float, mechanism: str) -> None:
    """Runs publish and a trainer learns through so many ends of sessions."""
    prefix = f"{mechanism.lower()}-{times}"
    seen = replace(broker.open, topic_prefix=prefix)
    create_topics(seen)
    tokens = {
        name: TokenCommand(folder, f"{prefix}-{name}".replace(" ", "-"), session_s)
        for name in ("serve trainer", "run simulated")
    }

    def user(name: str) -> Settings:
        if mechanism != "OAUTHBEARER":
            return broker.allowed(name, prefix)
        broker.allow(f"{prefix}-{name}".replace(" ", "-"), rights_of(name, seen))
        return replace(broker.bearer(tokens[name].command), topic_prefix=prefix)

    def logins() -> int:
        return (folder / "logins").read_text().count("Authenticated")

    runs = random_runs(8 * times + 8, seed=71)
    first, *parts = [interleaved(runs[8 * n : 8 * n + 8], seed=72 + n) for n in range(times + 1)]
    noting = partial(_note, "aiokafka.conn", folder / "logins")
    with (
        service(user("serve trainer"), "serve-trainer", "--checkpoint-every-s", "1", change=noting) as worker,
        TracePublisher(user("run simulated"), folder / "spool.sqlite") as publisher,
    ):
        push(publisher, first)
        wait_for_version(seen, 1)
        before = logins(), tokens["serve trainer"].given, tokens["run simulated"].given
        for part in parts:
            push(publisher, part)
            let_time_pass(session_s)
        assert publisher.flush(_WAIT_S) == 0
        check(recovery(seen, runs))
        assert worker.poll() is None, worker.said
    assert logins() - before[0] >= times
    if mechanism == "OAUTHBEARER":
        assert tokens["serve trainer"].given - before[1] >= times
        assert tokens["run simulated"].given - before[2] >= times


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", pytest.param("OAUTHBEARER", marks=pytest.mark.long)])
def test_three_ends_of_sessions_lose_nothing_and_double_nothing(
    hasty: SecuredBroker, tmp_path: Path, mechanism: str
) -> None:
    _survive(hasty, tmp_path, 3, _SHORT_S, mechanism)


def _never_fetch_again(file: Path) -> None:
    """In the trainer's process: a fetch that failed waits for an hour before the next."""
    _note("aiokafka.consumer.fetcher", file)
    make = Fetcher.__init__

    def patient(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options | {"retry_backoff_ms": 3_600_000})

    pytest.MonkeyPatch().setattr(Fetcher, "__init__", patient)


def test_a_trainer_stops_while_a_fetch_waits_to_be_tried_again(hasty: SecuredBroker, tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    failed.touch()
    prefix = "stops"
    create_topics(replace(hasty.open, topic_prefix=prefix))
    with service(
        hasty.allowed("serve trainer", prefix), "serve-trainer", change=partial(_never_fetch_again, failed)
    ) as worker:
        wait_until(lambda: "Failed fetch messages" in failed.read_text())
        worker.terminate()
        assert worker.wait(_STOP_S) == 0


@pytest.mark.long
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "OAUTHBEARER"])
def test_the_same_with_fifty_sessions_of_ten_seconds(
    kafka_jars: KafkaJars, tmp_path: Path, mechanism: str
) -> None:
    broker = SecuredBroker(kafka_jars, tmp_path, session_ms=10_000)
    with broker.broker:
        _survive(broker, tmp_path, 50, 10.0, mechanism)
