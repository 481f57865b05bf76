"""A Kafka without a transaction coordinator, as one broker with the settings of three has none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click
import pytest

from streams.errors import NoBroker
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics, has_transactions
from streams.kafka.writer import produce
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import KafkaJars
from streams.messages.codec import encode
from streams.messages.stored import Outgoing
from streams.snapshots import fenced_writer
from streams.snapshots.writer import SnapshotWriter
from streams.worker import shell
from tests.factories import pair, run
from tests.kafka.test_trainer import publish
from tests.services import service
from tests.waiting import wait_until
from trainers.online.learner import OnlineLearner

_WAIT_S = 60.0
PATCH = pytest.MonkeyPatch()
"""In the service's process, for as long as it lives."""


@pytest.fixture(scope="module")
def alone(kafka_jars: KafkaJars) -> Iterator[Settings]:
    with LocalBroker(kafka_jars, properties={"transaction.state.log.replication.factor": "3"}) as broker:
        settings = Settings(bootstrap_servers=broker.bootstrap_servers)
        create_topics(settings)
        yield settings


def reason(settings: Settings) -> str:
    return (
        f"no transaction coordinator answers at {settings.bootstrap_servers}; if that Kafka has fewer than "
        "three brokers, set its transaction.state.log.replication.factor to their number"
    )


def soon() -> None:
    PATCH.setattr(fenced_writer, "_START_S", 0.5)
    PATCH.setattr(fenced_writer, "_CLOSE_S", 0.5)
    PATCH.setattr(shell, "_LAST_ANSWERS_S", 1.0)


def audibly() -> None:
    """The service says when its writer opens."""

    def saying(settings: Settings) -> bool:
        click.echo("the writer opens", err=True)
        return has_transactions(settings)

    PATCH.setattr(fenced_writer, "has_transactions", saying)


def test_a_writer_says_why_it_cannot_open(alone: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fenced_writer, "_START_S", 0.5)
    with pytest.raises(NoBroker) as ended:
        asyncio.run(SnapshotWriter(alone, "default").open())
    assert str(ended.value) == reason(alone)


def test_a_text_learner_ends_with_the_reason(alone: Settings) -> None:
    with service(alone, "serve-text", change=soon) as learner:
        assert learner.wait(_WAIT_S) == 2
    assert learner.said == f"tribrain: {reason(alone)}\n"


def test_a_text_learner_stops_while_its_writer_opens(alone: Settings) -> None:
    with service(alone, "serve-text", "--json", change=audibly) as learner:
        wait_until(lambda: "the writer opens" in learner.said, _WAIT_S)
        learner.terminate()
        assert learner.wait(15) == 0
    assert '"ended_by":"signal"' in learner.printed
    assert learner.said == "the writer opens\n"


def test_a_trainer_waits_and_says_why(alone: Settings) -> None:
    publish(alone, run([0.1, 0.9]))
    with service(alone, "serve-trainer", change=soon) as trainer:
        wait_until(lambda: trainer.said.count(f"waits for the broker: {reason(alone)}") > 1, _WAIT_S)
        trainer.terminate()
        assert trainer.wait(_WAIT_S) == 0


def test_a_trainer_stops_while_it_adopts_topics(alone: Settings) -> None:
    learner = OnlineLearner("adopted")
    learner.on_message(pair({"a.x": 1.0}, {"a.x": 0.0}, model="adopted"))
    snapshot = learner.snapshot(topic_ids={alone.pairs_topic: "of a topic that is gone"})
    message = Outgoing(alone.snapshots_topic, b"bt:adopted", encode(snapshot))
    assert list(produce(alone, [message])) == [message]
    given = ("--model", "adopted", "--accept-new-topics", "--json")
    with service(alone, "serve-trainer", *given, change=audibly) as trainer:
        wait_until(lambda: "the writer opens" in trainer.said, _WAIT_S)
        trainer.terminate()
        assert trainer.wait(15) == 0
    assert '"ended_by":"signal"' in trainer.printed
    assert "Traceback" not in trainer.said
