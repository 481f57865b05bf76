"""Sends messages that are stored elsewhere at once, and waits for Kafka: no spool, no background thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin
from streams.kafka.writer import M, TopicWriter
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from streams.messages.files import read_trace_lines
from streams.messages.revisions import missing_ends
from streams.messages.stored import Outgoing, Record
from streams.messages.votes import Vote
from streams.spool.queue import BATCH_BYTES, BATCH_RECORDS

_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class PublishedTrace:
    """What ``publish_trace_file`` sent."""

    runs: int
    events: int
    ends_added: int
    """Runs whose end was not in the file and was derived from their events."""
    refused: dict[str, list[str]]
    """Run to the reasons why some of its events cannot be published (too large, …)."""


def publish_trace_file(settings: Settings, path: Path, *, timeout_s: float = 30.0) -> PublishedTrace:
    """Send every revision in a ``trace.jsonl``, and wait until Kafka has acknowledged all of it.

    Raises BadInput if the file cannot be read, no broker answers, or not everything is acknowledged within
    ``timeout_s`` seconds. Sending a file again is harmless.
    """
    messages = [message for _, message in read_trace_lines(path)]
    ends = missing_ends(messages)
    connect_admin(settings, min(timeout_s, 5.0)).close()
    try:
        refused = publish_messages(settings, (*messages, *ends), timeout_s=timeout_s)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    return PublishedTrace(
        runs=len({message.run_id for message in messages}),
        events=sum(isinstance(message, TraceEvent) for message in messages),
        ends_added=len(ends),
        refused=refused,
    )


def publish_messages(
    settings: Settings, messages: Sequence[TraceEvent | RunEnd], *, timeout_s: float
) -> dict[str, list[str]]:
    """Send messages that are stored elsewhere, and wait until Kafka has acknowledged them.

    Returns, per run, why events cannot be published. Raises BadInput if Kafka has not acknowledged the others
    within ``timeout_s`` seconds.
    """
    refused: dict[str, list[str]] = {}
    records = [Record(settings.trace_topic, m.run_id.encode(), encode(m), m.run_id) for m in messages]
    for record, reason in _publish(settings, records, timeout_s):
        refused.setdefault(record.run_id, []).append(reason)
    return refused


def publish_votes(settings: Settings, votes: Sequence[Vote], *, timeout_s: float) -> dict[str, str]:
    """Send votes that are stored elsewhere, in their order, and wait until Kafka has acknowledged them.

    Returns, by vote id, why a vote cannot be published. Raises BadInput if Kafka has not acknowledged the
    others within ``timeout_s`` seconds; sending all of them again is harmless.
    """
    records = [Outgoing(settings.votes_topic, v.vote_id.encode(), encode(v)) for v in votes]
    return {(record.key or b"").decode(): reason for record, reason in _publish(settings, records, timeout_s)}


def _publish(settings: Settings, records: Sequence[M], timeout_s: float) -> list[tuple[M, str]]:
    """Send the records; returns those that Kafka refused, with the reasons. Raises BadInput on a timeout."""
    deadline = time.monotonic() + timeout_s
    waiting = deque(records)
    refused: list[tuple[M, str]] = []

    def acknowledged(sent: Sequence[M]) -> None:
        for _ in sent:
            waiting.popleft()

    def refuse(record: M, reason: str) -> None:
        waiting.popleft()
        refused.append((record, reason))

    writer = TopicWriter(settings, lambda: time.monotonic() > deadline)
    try:
        while waiting:
            try:
                writer.deliver(_batch(waiting), on_acknowledged=acknowledged, on_refused=refuse)
            except KafkaError as error:
                if time.monotonic() > deadline:
                    unsent = f"{len(waiting)} of {len(records)} messages were not published"
                    raise BadInput(f"{unsent} within {timeout_s:g} s ({error})") from None
                time.sleep(_PAUSE_S)
    finally:
        writer.close()
    return refused


def _batch(waiting: Iterable[M]) -> list[M]:
    batch: list[M] = []
    size = 0
    for record in waiting:
        size += len(record.value)
        if len(batch) == BATCH_RECORDS or (batch and size > BATCH_BYTES):
            break
        batch.append(record)
    return batch
