"""How old what ``serve text`` has not handled yet is, on a real topic."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from kafka.admin import ConfigResource, ConfigResourceType

from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin
from streams.messages.codec import encode
from streams.messages.stored import StoredMessage
from streams.metrics.instruments import Instruments
from tests.scrapes import Scrape
from tests.trainers.text.factories import polite_pairs
from tests.waiting import wait_until
from trainers.text.processor import TextProcessor
from tribrain.serve.text_metrics import TextMetrics

_HOUR_S = 3600.0


class Worker:
    """Reads, learns and measures as ``serve text`` does, one step at a time."""

    def __init__(self, settings: Settings, reader: TopicReader) -> None:
        self._topic, self._reader = settings.pairs_topic, reader
        self._producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
        self._instruments = Instruments("text")
        self._metrics = TextMetrics(settings, self._instruments)
        self._processor = TextProcessor("default", snapshots_topic="")

    def send(self, *, age_s: float) -> None:
        stamp_ms = int(1000 * (time.time() - age_s))
        (pair,) = polite_pairs(1)
        self._producer.produce(self._topic, key=b"default", value=encode(pair), timestamp=stamp_ms)
        assert self._producer.flush(60.0) == 0

    def handle_next(self) -> None:
        handled: list[StoredMessage] = []

        def polled() -> bool:
            handled.extend(self._reader.poll())
            return bool(handled)

        wait_until(polled)
        for message in handled:
            self._processor.on_message(message)
        self._metrics.learnt(self._processor, handled)

    def lag(self) -> tuple[float, float]:
        """In messages and in seconds."""
        self._metrics.measure(self._reader)
        found = Scrape(self._instruments.text().decode())
        return found["tribrain_lag_messages", "pairs", "0"], found["tribrain_lag_seconds", "pairs", "0"]


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    # So that messages may be old; a topic of ours has the broker's time.
    as_sent = ConfigResource(
        ConfigResourceType.TOPIC, settings.pairs_topic, {"message.timestamp.type": "CreateTime"}
    )
    with connect_admin(settings, 10.0) as admin:
        assert admin.alter_configs([as_sent])["topic"] == {settings.pairs_topic: "OK"}
    with TopicReader(settings, settings.pairs_topic) as reader:
        yield Worker(settings, reader)


def test_a_reader_that_is_hours_behind_says_so_though_it_advances(worker: Worker) -> None:
    worker.send(age_s=3 * _HOUR_S)
    worker.handle_next()
    worker.send(age_s=2 * _HOUR_S)
    messages, seconds = worker.lag()
    assert messages == 1
    assert 2 * _HOUR_S <= seconds < 4 * _HOUR_S


def test_what_came_after_all_was_read_is_not_taken_for_older_than_that(worker: Worker) -> None:
    worker.send(age_s=24 * _HOUR_S)
    worker.handle_next()
    assert worker.lag() == (0, 0)
    worker.send(age_s=0)
    messages, seconds = worker.lag()
    assert messages == 1
    assert seconds < _HOUR_S


def test_before_anything_was_read_a_lag_is_as_old_as_it_has_been_seen(worker: Worker) -> None:
    worker.send(age_s=_HOUR_S)
    assert worker.lag() == (1, 0)
