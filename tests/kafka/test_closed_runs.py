"""Which marks of closed runs a worker reads before it reads events."""

from __future__ import annotations

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from streams.kafka import closed_runs
from streams.kafka.closed_runs import read_closed_runs
from streams.kafka.partitions import partition_of
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.codec import encode
from streams.messages.contracts import RunClosed
from streams.messages.stored import Outgoing
from streams.spool.publish_now import publish_messages
from tests.factories import event

GROUP = "a-group"


def close(settings: Settings, run_id: str) -> RunClosed:
    mark = RunClosed(run_id=run_id, model="default", iterations=(0,))
    list(produce(settings, [Outgoing(settings.closed_runs_topic, run_id.encode(), encode(mark))]))
    return mark


def commit(settings: Settings, offsets: dict[int, int]) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, group_id=GROUP, enable_auto_commit=False
    )
    partitions = {
        TopicPartition(settings.trace_topic, n): OffsetAndMetadata(o, "", -1) for n, o in offsets.items()
    }
    consumer.assign(list(partitions))
    consumer.commit(partitions)
    consumer.close()


def test_a_group_that_has_committed_nothing_reads_all_marks_since_the_first_event(settings: Settings) -> None:
    publish_messages(settings, [event(0, 0.5)], timeout_s=30.0)
    marks = [close(settings, "run-1"), close(settings, "run-2")]
    assert read_closed_runs(settings, GROUP) == (4, marks)


def test_marks_from_before_the_oldest_event_that_may_be_read_again_are_left_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_runs, "_MARGIN_MS", 0)
    close(settings, "run-before")
    publish_messages(settings, [event(0, 0.5), event(1, 0.6)], timeout_s=30.0)
    after = close(settings, "run-after")
    assert read_closed_runs(settings, GROUP) == (4, [after])
    commit(settings, {partition_of(b"run-a", 4): 2})
    assert read_closed_runs(settings, GROUP) == (4, [])


def test_within_the_margin_they_are_known(settings: Settings) -> None:
    mark = close(settings, "run-before")
    publish_messages(settings, [event(0, 0.5)], timeout_s=30.0)
    assert read_closed_runs(settings, GROUP) == (4, [mark])
