"""One writer a model: the newest to open is the only one whose snapshots anyone sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from streams.errors import BadInput, Fenced, NoBroker
from streams.kafka.settings import Settings, no_broker_answers
from streams.kafka.topics import create_topics
from streams.kafka.transactions import producer_that_timed_out
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import KafkaJars
from streams.messages.checkpoints import Recovery, checkpoint_message
from streams.messages.codec import encode
from streams.messages.contracts import RewardSnapshot
from streams.messages.stored import Outgoing
from streams.snapshots import fenced_writer
from streams.snapshots.feed import SnapshotFeed, read_latest_snapshot
from streams.snapshots.writer import SnapshotWriter
from tests.factories import pair, run
from tests.kafka.test_trainer import publish, wait_until_learnt
from tests.services import trainer
from tests.states import checkpoint_of
from tests.waiting import let_time_pass, wait_until
from trainers.online.learner import OnlineLearner


def snapshot(settings: Settings, n_pairs: int, model: str = "default") -> Outgoing:
    learner = OnlineLearner(model)
    for i in range(n_pairs):
        learner.on_message(pair({"a.x": 1.0}, {"a.x": i / n_pairs}, task_id=str(i), model=model))
    return Outgoing(settings.snapshots_topic, f"bt:{model}".encode(), encode(learner.snapshot()))


def latest(settings: Settings, model: str = "default") -> RewardSnapshot | None:
    return read_latest_snapshot(settings, model)


def answer(given: Any) -> Any:
    if isinstance(given, Exception):
        raise given
    return given


def test_a_writer_reads_what_the_one_before_it_has_published(settings: Settings) -> None:
    learner = OnlineLearner()
    learner.on_message(pair({"a.x": 1.0}, {"a.x": 0.0}))
    checkpoint = checkpoint_of(learner)

    async def scenario() -> Recovery:
        first, second = SnapshotWriter(settings, "default"), SnapshotWriter(settings, "default")
        assert await first.open() == Recovery(None, 0)
        await first.publish(snapshot(settings, 3), checkpoint_message(checkpoint, settings.snapshots_topic))
        await first.close()
        found = await second.open()
        await second.close()
        return found

    found = asyncio.run(scenario())
    assert found.published == 3
    assert found.checkpoint is not None
    assert found.checkpoint.checksum == checkpoint.checksum


def test_an_older_writer_is_fenced_off_and_what_it_writes_is_never_seen(settings: Settings) -> None:
    async def scenario() -> None:
        older, newer = SnapshotWriter(settings, "default"), SnapshotWriter(settings, "default")
        await older.open()
        await older.publish(snapshot(settings, 1))
        await newer.open()
        with pytest.raises(Fenced, match="another trainer has taken over model 'default'"):
            await older.publish(snapshot(settings, 9))
        await newer.publish(snapshot(settings, 2))
        await older.close()
        await newer.close()

    asyncio.run(scenario())
    found = latest(settings)
    assert found is not None
    assert found.version == 2


def test_a_broker_that_goes_away_while_a_writer_opens_is_said_to_be_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fenced_writer, "has_transactions", lambda settings: True)  # it was there for this
    settings = Settings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(BadInput) as ended:
        asyncio.run(SnapshotWriter(settings, "default").open())
    assert str(ended.value) == str(no_broker_answers(settings))


def test_writers_of_different_models_leave_each_other_alone(settings: Settings) -> None:
    async def scenario() -> None:
        robot, world = SnapshotWriter(settings, "robot"), SnapshotWriter(settings, "world")
        await robot.open()
        await world.open()
        await robot.publish(snapshot(settings, 1, "robot"))
        await world.publish(snapshot(settings, 2, "world"))
        await robot.close()
        await world.close()

    asyncio.run(scenario())
    versions = {model: found.version for model in ("robot", "world") if (found := latest(settings, model))}
    assert versions == {"robot": 1, "world": 2}


@pytest.fixture(scope="module")
def forgetful(kafka_jars: KafkaJars) -> Iterator[Settings]:
    """A broker that forgets a writer after a second, not after a week."""
    soon = {
        "transactional.id.expiration.ms": "1000",
        "transaction.remove.expired.transaction.cleanup.interval.ms": "250",
    }
    with LocalBroker(kafka_jars, properties=soon) as broker:
        settings = Settings(bootstrap_servers=broker.bootstrap_servers)
        create_topics(settings)
        yield settings


def test_a_writer_that_kafka_has_forgotten_goes_on(
    forgetful: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        writer = SnapshotWriter(forgetful, "idle")
        await writer.open()
        await writer.publish(snapshot(forgetful, 1, "idle"))
        let_time_pass(3)
        await writer.publish(snapshot(forgetful, 2, "idle"))
        await writer.close()

    asyncio.run(scenario())
    assert "Kafka no longer knows the writer of model 'idle'" in caplog.text
    assert getattr(latest(forgetful, "idle"), "version", None) == 2


def test_a_writer_that_kafka_has_forgotten_waits_for_a_broker_that_is_away(
    forgetful: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        writer = SnapshotWriter(forgetful, "waits")
        await writer.open()
        let_time_pass(3)
        answers: Iterator[Any] = chain([no_broker_answers(forgetful)], repeat(True))
        monkeypatch.setattr(fenced_writer, "has_transactions", lambda settings: answer(next(answers)))
        await writer.publish(snapshot(forgetful, 1, "waits"))
        await writer.close()

    asyncio.run(scenario())
    assert "the writer of model 'waits' waits for the broker" in caplog.text
    assert getattr(latest(forgetful, "waits"), "version", None) == 1


def test_a_broker_that_goes_away_while_the_coordinator_is_looked_for_is_said_to_be_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise KafkaConnectionError("the connection was lost")

    monkeypatch.setattr(AIOKafkaClient, "coordinator_lookup", lost)
    with pytest.raises(NoBroker) as ended:
        asyncio.run(SnapshotWriter(settings, "default").open())
    assert str(ended.value) == str(no_broker_answers(settings))


def test_a_writer_that_kafka_has_forgotten_writes_over_nobody(forgetful: Settings) -> None:
    async def scenario() -> None:
        older, newer = SnapshotWriter(forgetful, "taken"), SnapshotWriter(forgetful, "taken")
        await older.open()
        await older.publish(snapshot(forgetful, 1, "taken"))
        await newer.open()
        await newer.publish(snapshot(forgetful, 2, "taken"))
        await newer.close()
        let_time_pass(3)
        with pytest.raises(Fenced, match="another trainer has taken over model 'taken'"):
            await older.publish(snapshot(forgetful, 9, "taken"))
        await older.close()

    asyncio.run(scenario())
    assert getattr(latest(forgetful, "taken"), "version", None) == 2


@pytest.fixture
def impatient(kafka_jars: KafkaJars, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A broker that ends a transaction after half a second, as it does after 30 in an outage."""
    monkeypatch.setattr(fenced_writer, "_TRANSACTION_TIMEOUT_MS", 500)
    soon = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "100"}
    with LocalBroker(kafka_jars, properties=soon) as broker:
        settings = Settings(bootstrap_servers=broker.bootstrap_servers)
        create_topics(settings)
        yield settings


class Outage:
    """Once one thing is sent, its writer hears nothing for longer than a transaction may last."""

    def __init__(self, writer: SnapshotWriter, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self._writer, self._settings, self._is_over = writer._writer, settings, False
        self._send = writer._writer._send
        monkeypatch.setattr(writer._writer, "_send", self.send)

    async def send(self, *arguments: Any) -> None:
        await self._send(*arguments)
        if not self._is_over:
            self._is_over = True
            await asyncio.to_thread(wait_until, self._has_timed_out, 30)
            await self.meanwhile()

    async def meanwhile(self) -> None:
        """What others do then."""

    def _has_timed_out(self) -> bool:
        return producer_that_timed_out(self._settings, self._writer.transactional_id) is not None


def test_an_outage_longer_than_a_transaction_is_no_takeover(
    impatient: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        writer = SnapshotWriter(impatient, "default")
        await writer.open()
        await writer.publish(snapshot(impatient, 1))
        Outage(writer, impatient, monkeypatch)
        await writer.publish(snapshot(impatient, 2))
        await writer.publish(snapshot(impatient, 3))
        await writer.close()

    asyncio.run(scenario())
    assert "its writer reopens" in caplog.text
    assert getattr(latest(impatient), "version", None) == 3


def test_who_was_taken_over_in_an_outage_publishes_nothing_and_fences_nobody_off(
    impatient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        older, newer = SnapshotWriter(impatient, "default"), SnapshotWriter(impatient, "default")
        await older.open()
        outage = Outage(older, impatient, monkeypatch)
        monkeypatch.setattr(outage, "meanwhile", newer.open)
        with pytest.raises(Fenced, match="another trainer has taken over model 'default'"):
            await older.publish(snapshot(impatient, 9))
        await newer.publish(snapshot(impatient, 2))
        await older.close()
        await newer.close()

    asyncio.run(scenario())
    assert getattr(latest(impatient), "version", None) == 2


def test_who_is_taken_over_while_it_opens_again_publishes_nothing(
    impatient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        older, newer = SnapshotWriter(impatient, "default"), SnapshotWriter(impatient, "default")
        await older.open()
        Outage(older, impatient, monkeypatch)
        start = older._writer._start

        async def start_too_late() -> None:
            await newer.open()
            await start()

        monkeypatch.setattr(older._writer, "_start", start_too_late)
        with pytest.raises(Fenced, match="another trainer has taken over model 'default'"):
            await older.publish(snapshot(impatient, 9))
        await older.close()
        await newer.close()

    asyncio.run(scenario())
    assert latest(impatient) is None


def test_a_writer_that_is_closed_while_it_opens_again_leaves_its_successor_alone(
    impatient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in one worker, after the rebalance that follows the outage."""

    async def scenario() -> None:
        older, newer = SnapshotWriter(impatient, "default"), SnapshotWriter(impatient, "default")
        await older.open()
        Outage(older, impatient, monkeypatch)
        opens_again, never = asyncio.Event(), asyncio.Event()

        async def start_late() -> None:
            opens_again.set()
            await never.wait()

        monkeypatch.setattr(older._writer, "_start", start_late)
        publishing = asyncio.ensure_future(older.publish(snapshot(impatient, 9)))
        await opens_again.wait()
        await older.close()
        await newer.open()
        with pytest.raises(Fenced, match="was closed while it reopened"):
            await publishing
        await newer.publish(snapshot(impatient, 2))
        await newer.close()

    asyncio.run(scenario())
    assert getattr(latest(impatient), "version", None) == 2


def test_a_successor_that_gave_up_a_transaction_is_no_outage(settings: Settings) -> None:
    """Its abort looks like that of a time-out; but nothing of the older writer was under way."""

    async def scenario() -> None:
        older, newer = SnapshotWriter(settings, "default"), SnapshotWriter(settings, "default")
        await older.open()
        await older.publish(snapshot(settings, 1))
        await newer.open()
        producer = newer._writer._producer
        assert producer is not None
        await producer.begin_transaction()
        await producer.send_and_wait(settings.snapshots_topic, b"{}", b"any")
        await producer.abort_transaction()
        assert producer_that_timed_out(settings, newer._writer.transactional_id) is not None
        with pytest.raises(Fenced):
            await older.publish(snapshot(settings, 9))
        await newer.publish(snapshot(settings, 2))
        await older.close()
        await newer.close()

    asyncio.run(scenario())
    assert getattr(latest(settings), "version", None) == 2


def test_a_trainer_that_was_idle_for_so_long_learns_on(forgetful: Settings) -> None:
    with trainer(forgetful) as worker:
        publish(forgetful, run([0.1, 0.9]))
        wait_until_learnt(forgetful, 1)
        let_time_pass(3)
        publish(forgetful, run([0.2, 0.8], run_id="run-b"))
        wait_until_learnt(forgetful, 2)
    assert "Kafka no longer knows the writer of model 'default'" in worker.said


def test_a_trainer_whose_model_was_taken_over_stops_with_a_message(settings: Settings) -> None:
    async def take_over() -> None:
        writer = SnapshotWriter(settings, "default")
        await writer.open()
        await writer.close()

    with trainer(settings) as worker:
        publish(settings, run([0.1, 0.9]))
        before = wait_until_learnt(settings, 1)
        asyncio.run(take_over())
        publish(settings, run([0.2, 0.8], run_id="run-b"))
        assert worker.wait(60) == 3
    assert "another trainer has taken over model 'default'; this one publishes nothing more" in worker.said
    assert "Traceback" not in worker.said
    assert latest(settings) == before


def test_its_successor_learns_what_it_could_not_publish(settings: Settings) -> None:
    async def take_over() -> None:
        writer = SnapshotWriter(settings, "default")
        await writer.open()
        await writer.close()

    with trainer(settings) as worker:
        publish(settings, run([0.1, 0.9]))
        wait_until_learnt(settings, 1)
        asyncio.run(take_over())
        publish(settings, run([0.2, 0.8], run_id="run-b"))
        worker.wait(60)
    with trainer(settings), SnapshotFeed(settings) as feed:
        wait_until(lambda: getattr(feed.latest(), "labels", None) == {"critic": 2}, 60)
