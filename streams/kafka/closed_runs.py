"""Reads which runs are closed, among those whose events a group may read again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from streams.kafka.failures import failure
from streams.kafka.partitions import partitions_of
from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, is_in_memory
from streams.messages.codec import ContractError, decode_run_closed
from streams.messages.contracts import RunClosed
from streams.messages.stored import StoredMessage

log = logging.getLogger(__name__)

_MARGIN_MS = 3_600_000
"""How much earlier to begin, as a runner that was offline may resend events of an earlier run."""
_PAUSE_S = 0.1


def read_closed_runs(settings: Settings, group: str, timeout_s: float = 10.0) -> tuple[int, list[RunClosed]]:
    """The number of partitions of the trace topic, and the marks of closed runs whose events may be read
    again.

    The marks start one hour before the oldest event that the group has not committed: by the broker's clock,
    a run is closed after its events arrive. Raises BadInput if a topic does not exist or the broker stays
    silent for ``timeout_s`` seconds.
    """
    partitions = [
        TopicPartition(settings.trace_topic, n)
        for n in partitions_of(settings, settings.trace_topic, timeout_s)
    ]
    with connect_admin(settings, timeout_s) as admin:
        try:
            # librdkafka's test broker has no offsets by time; it holds little, so all of it is read.
            offset = 0 if is_in_memory(admin) else _first_mark(settings, admin, group, partitions, timeout_s)
        except KafkaError as error:
            raise failure(settings, error) from None
    with TopicReader(
        settings, settings.closed_runs_topic, offsets={0: offset}, timeout_s=timeout_s
    ) as reader:
        return len(partitions), marks_among(reader.read_up())


def marks_among(messages: Iterable[StoredMessage]) -> list[RunClosed]:
    """The marks among these messages; anything else is skipped and logged.

    If a run's mark is missing, its pairs are only formed again, which their numbers make harmless.
    """
    marks = []
    for message in messages:
        try:
            marks.append(decode_run_closed(message.value, message))
        except ContractError as error:
            log.warning("skipped: %s", error)
    return marks


def _first_mark(
    settings: Settings,
    admin: KafkaAdminClient,
    group: str,
    partitions: list[TopicPartition],
    timeout_s: float,
) -> int:
    committed = _committed(admin, group, partitions, time.monotonic() + timeout_s)
    until = {number: offset + 1 for number, offset in committed.items()}
    with TopicReader(settings, settings.trace_topic, offsets=committed, timeout_s=timeout_s) as reader:
        times_ms = [message.timestamp_ms for message in reader.read_up(until)]
    # If there are no uncommitted events, only the margin counts.
    since_ms = max(min(times_ms, default=int(time.time() * 1000)) - _MARGIN_MS, 0)
    marks = TopicPartition(settings.closed_runs_topic, 0)
    first = int(admin.list_partition_offsets({marks: since_ms})[marks].offset)
    if first < 0:
        first = int(admin.list_partition_offsets({marks: OffsetSpec.LATEST})[marks].offset)
    return first


def committed_offsets(settings: Settings, group: str, topic: str, timeout_s: float = 10.0) -> dict[int, int]:
    """Partition to the group's committed offset, 0 if it has none; empty if the broker does not report
    offsets.

    Raises BadInput if the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    partitions = [TopicPartition(topic, n) for n in partitions_of(settings, topic, timeout_s)]
    with connect_admin(settings, timeout_s) as admin:
        try:
            # librdkafka's test broker keeps offsets but does not report them.
            if is_in_memory(admin):
                return {}
            return _committed(admin, group, partitions, time.monotonic() + timeout_s)
        except KafkaError as error:
            raise failure(settings, error) from None


def _committed(
    admin: KafkaAdminClient, group: str, partitions: list[TopicPartition], deadline_s: float
) -> dict[int, int]:
    while True:
        try:
            of_group = admin.list_group_offsets({group: partitions})[group]
            return {each.partition: max(0, at.offset) for each, at in of_group.items()}
        except KafkaError as error:
            # A broker that has just started has no coordinator for the group yet.
            if not error.retriable or time.monotonic() > deadline_s:
                raise
            time.sleep(_PAUSE_S)
