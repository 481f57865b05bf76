"""Messages at given offsets, whatever is missing before, between and behind them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.consumer.fetcher import ConsumerRecord

from streams.backup.archive import Archive, Committed
from streams.backup.restore import restore
from streams.errors import BadInput
from streams.kafka.closed_runs import committed_offsets
from streams.kafka.settings import Settings, consumer_config
from streams.kafka.topics import connect_admin
from streams.kafka.writer import produce
from streams.messages.limits import MAX_PAIR_BYTES
from streams.messages.stored import LogRecord, Outgoing
from tests.factories import backed_up

_NOW_MS = int(time.time() * 1000)
_DAY_MS = 86_400_000


@pytest.fixture
def there(kafka: str, settings: Settings) -> Settings:
    """A prefix without topics."""
    return replace(settings, topic_prefix=f"{settings.topic_prefix}-restored")


def record(offset: int) -> LogRecord:
    return LogRecord(offset, _NOW_MS + offset, b"key", b"value %d" % offset, ())


def read(settings: Settings, place: tuple[str, int], **config: str) -> tuple[list[ConsumerRecord], int]:
    """All records that a plain consumer is given, and the end."""
    partition = TopicPartition(*place)
    consumer = KafkaConsumer(**consumer_config(settings) | config)
    try:
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end: int = consumer.end_offsets([partition])[partition]
        records: list[ConsumerRecord] = []
        while consumer.position(partition) < end:
            records += consumer.poll(timeout_ms=200).get(partition, [])
        return records, end
    finally:
        consumer.close()


def of_one_topic(
    folder: Path, settings: Settings, records: Sequence[LogRecord], end: int, configs: Mapping[str, str] = {}
) -> Archive:
    topic = settings.snapshots_topic
    return backed_up(
        folder / "a.backup",
        {topic: [records]},
        prefix=settings.topic_prefix,
        ends={(topic, 0): end},
        configs=configs,
    )


@pytest.mark.parametrize("gap", [1, 2, 3, 120_000])
@pytest.mark.parametrize("where", ["start", "middle", "end"])
def test_messages_come_to_their_offsets_over_gaps_of_any_length(
    where: str, gap: int, there: Settings, tmp_path: Path
) -> None:
    shifts = {"start": (gap, gap), "middle": (0, gap), "end": (0, 0)}[where]
    offsets = [0 + shifts[0], 1 + shifts[0], 2 + shifts[1], 3 + shifts[1]]
    end = offsets[-1] + 1 + (gap if where == "end" else 0)
    restore(there, of_one_topic(tmp_path, there, [record(offset) for offset in offsets], end))
    found, found_end = read(there, (there.snapshots_topic, 0))
    assert [each.offset for each in found] == offsets
    assert [each.value for each in found] == [b"value %d" % offset for offset in offsets]
    assert found_end == end


def test_a_partition_that_holds_no_message_ends_where_it_ended(there: Settings, tmp_path: Path) -> None:
    restore(there, of_one_topic(tmp_path, there, [], 7))
    assert read(there, (there.snapshots_topic, 0)) == ([], 7)


def test_gaps_of_one_between_all_messages_are_kept(there: Settings, tmp_path: Path) -> None:
    """As on a topic that is written by transactions alone."""
    restore(there, of_one_topic(tmp_path, there, [record(offset) for offset in range(0, 40, 2)], 40))
    found, end = read(there, (there.snapshots_topic, 0))
    assert [each.offset for each in found] == list(range(0, 40, 2))
    assert end == 40


def test_keys_values_headers_and_times_are_those_that_were_also_null_and_empty_ones(
    there: Settings, tmp_path: Path
) -> None:
    records = [
        LogRecord(0, _NOW_MS, b"key", None, ()),
        LogRecord(1, 0, None, b"value", (("name", None), ("name", b""), ("", b"twice"))),
        LogRecord(2, _NOW_MS + 400 * _DAY_MS, b"", b"", (("ä", b"\xff"),)),
        LogRecord(3, _NOW_MS - 4000 * _DAY_MS, b"\x00", b"a", ()),
    ]
    restore(there, of_one_topic(tmp_path, there, records, 4))
    found, _ = read(there, (there.snapshots_topic, 0))
    assert [
        LogRecord(each.offset, each.timestamp, each.key, each.value, tuple(each.headers)) for each in found
    ] == records


def test_the_largest_message_comes_back(there: Settings, tmp_path: Path) -> None:
    largest = LogRecord(1, _NOW_MS, b"default", os.urandom(MAX_PAIR_BYTES), ())
    restore(there, of_one_topic(tmp_path, there, [record(0), largest, record(2)], 3))
    found, _ = read(there, (there.snapshots_topic, 0))
    assert [each.value for each in found] == [b"value 0", largest.value, b"value 2"]


def test_each_partition_has_its_own_messages(there: Settings, tmp_path: Path) -> None:
    topic = there.trace_topic
    parts = [[record(0), record(5)], [], [record(3)], [], [record(n) for n in range(9)], []]
    restore(there, backed_up(tmp_path / "a.backup", {topic: parts}, prefix=there.topic_prefix))
    for number, records in enumerate(parts):
        found, _ = read(there, (topic, number))
        assert [each.offset for each in found] == [each.offset for each in records]


def test_a_topic_is_set_up_as_the_one_that_was_backed_up(there: Settings, tmp_path: Path) -> None:
    configs = {
        "cleanup.policy": "compact",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "-1",
        "max.message.bytes": "16842752",
        "segment.bytes": "67108864",
        "min.insync.replicas": "2",  # on one broker nobody could write
    }
    restore(there, of_one_topic(tmp_path, there, [record(0)], 1, configs))
    asked = [ConfigResource(ConfigResourceType.TOPIC, there.snapshots_topic)]
    with connect_admin(there, 5.0) as admin:
        found = admin.describe_configs(asked, config_filter="modified")["topic"][there.snapshots_topic]
    del configs["min.insync.replicas"]
    assert {name: entry["value"] for name, entry in found.items()} == configs


def test_groups_stand_where_they_stood(there: Settings, tmp_path: Path) -> None:
    topic, group = there.trace_topic, f"{there.topic_prefix}-somebody"
    committed = [
        Committed(topic=topic, partition=0, offset=2, metadata="a note"),
        Committed(topic=topic, partition=1, offset=0, metadata=""),
    ]
    archive = backed_up(
        tmp_path / "a.backup",
        {topic: [[record(0), record(1), record(2)], [record(0)]]},
        prefix=there.topic_prefix,
        groups={group: committed},
    )
    restore(there, archive)
    assert committed_offsets(there, group, topic) == {0: 2, 1: 0}


def test_what_fills_a_gap_is_a_message_only_to_those_who_read_what_was_aborted(
    there: Settings, tmp_path: Path
) -> None:
    restore(there, of_one_topic(tmp_path, there, [record(5)], 6))
    found, _ = read(there, (there.snapshots_topic, 0), isolation_level="read_uncommitted")
    assert [(each.offset, each.value) for each in found] == [
        (0, None),
        (1, None),
        (2, None),
        (3, None),
        (5, b"value 5"),
    ]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        # Kafka may answer before the marker that fills offset 30 is there; then the comparison tells.
        (
            30,
            "the next offset of partition 0 is 31, expected 30"
            "|11 messages up to offset 31, expected 10 up to 30",
        ),
        (28, "11 messages up to offset 29, expected 10 up to 28"),
    ],
)
def test_messages_that_somebody_else_writes_meanwhile_are_found(
    end: int, said: str, there: Settings, tmp_path: Path
) -> None:
    """Where something is still to be written behind them, and where only comparing can tell."""
    records = [record(offset) for offset in range(0, 30, 3)]
    archive = of_one_topic(tmp_path, there, records, end)
    done: Iterator[int] = iter(range(100))

    def write_something(_: int) -> None:
        if next(done) == 0:
            list(produce(there, [Outgoing(there.snapshots_topic, b"key", b"somebody's")]))

    with pytest.raises(BadInput, match=said):
        restore(there, archive, write_something)
