"""Trace events onto Kafka without ever holding up the run that makes them.

The run's own fsynced ``trace.jsonl`` is the durable copy. What could not be delivered is counted and its run
is named, so that ``tribrain publish-trace`` can send it later; a message that arrives twice is one event to
its readers, by (run id, iter_idx).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from kafka import KafkaProducer
from kafka.errors import (
    CorruptRecordError,
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from kafka.producer.future import FutureRecordMetadata

from streams.codec import encode
from streams.contracts import RunEnd, TraceEvent
from streams.errors import BadInput
from streams.files import missing_ends, read_trace
from streams.settings import Settings, producer_config
from streams.topics import connect_admin

log = logging.getLogger(__name__)

MAX_QUEUED = 1_000
MAX_QUEUED_BYTES = 8 << 20
_BATCH = 100
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_WAIT_S = 0.5
_CLOSE_PRODUCER_S = 1.0
# The record is at fault, not the broker: sending it again would fail again.
_POISON = (
    CorruptRecordError,
    InvalidRecordError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)


@dataclass(frozen=True, slots=True)
class _Record:
    run_id: str
    value: bytes

    @property
    def key(self) -> bytes:
        return self.run_id.encode()


class TracePublisher:
    """Sends events to the trace topic from one background thread, which owns the Kafka producer.

    At most ``max_queued`` events or ``max_queued_bytes`` bytes wait for an acknowledgement; an event over
    that is not sent, and its run is among ``unsent_runs``. The thread goes on by itself when a broker that
    was away is back.
    """

    def __init__(
        self, settings: Settings, *, max_queued: int = MAX_QUEUED, max_queued_bytes: int = MAX_QUEUED_BYTES
    ) -> None:
        self._settings = settings
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._changed = threading.Condition()
        self._queue: deque[_Record] = deque()
        self._queued_bytes = 0
        self._overflowed: dict[str, int] = {}
        self._quarantined: dict[str, list[str]] = {}
        self._problem: str | None = None
        self._closing = False
        self._producer: KafkaProducer | None = None
        self._thread = threading.Thread(target=self._run, name="trace-publisher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def push(self, event: TraceEvent | RunEnd) -> None:
        """Queue an event; returns at once, whatever the broker does. Raises ContractError."""
        record = _Record(event.run_id, encode(event))
        with self._changed:
            size = self._queued_bytes + len(record.value)
            if self._closing or len(self._queue) >= self._max_queued or size > self._max_queued_bytes:
                self._overflowed[record.run_id] = self._overflowed.get(record.run_id, 0) + 1
                return
            self._queue.append(record)
            self._queued_bytes = size
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> int:
        """Wait up to ``timeout_s`` seconds; the number of pushed events that no broker has acknowledged."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue, timeout_s)
            quarantined = sum(map(len, self._quarantined.values()))
            return len(self._queue) + sum(self._overflowed.values()) + quarantined

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what is queued for up to ``timeout_s`` seconds, then stop. May be called twice."""
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: not self._queue, timeout_s)
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def unsent_runs(self) -> set[str]:
        """Runs of which at least one event is not on Kafka (yet)."""
        with self._changed:
            return {*self._overflowed, *self._quarantined, *(record.run_id for record in self._queue)}

    @property
    def overflowed(self) -> dict[str, int]:
        """Per run, how many events found no room in the queue."""
        with self._changed:
            return dict(self._overflowed)

    @property
    def quarantined(self) -> dict[str, list[str]]:
        """Per run, the reasons for which events were given up: no broker would take them."""
        with self._changed:
            return {run_id: list(reasons) for run_id, reasons in self._quarantined.items()}

    @property
    def problem(self) -> str | None:
        """Why nothing gets through just now, in one line; None while all is well."""
        return self._problem

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while batch := self._next_batch():
            if self._deliver(batch):
                pause_s = _FIRST_PAUSE_S
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._closing, pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._discard_producer()

    def _next_batch(self) -> list[_Record]:
        """The oldest events, which stay queued until they are acknowledged; empty when closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            return [] if self._closing else list(islice(self._queue, _BATCH))

    def _deliver(self, batch: Sequence[_Record]) -> bool:
        """Send the batch and take from the queue what is settled; False where Kafka gave no answer.

        Everything from the first failure on is sent again later, which keeps the order within a run.
        """
        acknowledged, error = self._send(batch)
        self._settle(acknowledged)
        if error is None:
            self._recovered()
            return True
        # After most errors the producer would never send again.
        self._discard_producer()
        if not isinstance(error, _POISON):
            self._report(error)
            return False
        if len(batch) > 1:
            # One such record fails the whole Kafka batch that it is in: look at each by itself.
            return all(self._deliver([record]) for record in batch[acknowledged:])
        self._quarantine(batch[0], error)
        return True

    def _send(self, batch: Sequence[_Record]) -> tuple[int, KafkaError | None]:
        """How many records from the front on are acknowledged, and the error of the next."""
        futures = []
        error: KafkaError | None = None
        try:
            if self._producer is None:
                self._producer = KafkaProducer(**producer_config(self._settings))
            for record in batch:
                futures.append(self._producer.send(self._settings.trace_topic, record.value, record.key))
        except KafkaError as raised:
            error = raised
        for acknowledged, future in enumerate(futures):
            try:
                self._wait(future)
            except KafkaError as raised:
                return acknowledged, raised
        return len(futures), error

    def _wait(self, future: FutureRecordMetadata) -> None:
        while True:
            try:
                future.get(timeout=_WAIT_S)
                return
            except KafkaTimeoutError:
                # Either its own (delivery_timeout_ms is over) or only that of this get().
                if future.is_done or self._closing:
                    raise

    def _settle(self, count: int) -> None:
        with self._changed:
            for _ in range(count):
                self._queued_bytes -= len(self._queue.popleft().value)
            self._changed.notify_all()

    def _quarantine(self, record: _Record, error: KafkaError) -> None:
        reason = f"{len(record.value)} bytes: {error}"
        log.error("an event of run %s cannot be published: %s", record.run_id, reason)
        with self._changed:
            self._quarantined.setdefault(record.run_id, []).append(reason)
        self._settle(1)

    def _report(self, error: KafkaError) -> None:
        problem = (
            f"{self._settings.trace_topic} at {self._settings.bootstrap_servers} takes nothing: {error}; "
            "is the broker up, and are the topics there (`tribrain topics create`)?"
        )
        if self._problem is None and not self._closing:
            log.warning("events wait to be published; %s", problem)
        self._problem = problem

    def _recovered(self) -> None:
        if self._problem is not None:
            log.warning("events are being published again")
        self._problem = None

    def _discard_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=0)
        except KafkaTimeoutError:
            # With records unsent, close() raises before it stops its thread; this makes it drop them.
            producer._sender.force_close()
            with suppress(KafkaTimeoutError):
                producer.close(timeout=_CLOSE_PRODUCER_S)


@dataclass(frozen=True, slots=True)
class PublishedTrace:
    """What ``publish_trace_file`` sent."""

    runs: int
    events: int
    ends_added: int
    """Runs whose end was not in the file and was made from their events."""
    refused: dict[str, list[str]]
    """Per run, the reasons for which events cannot be on Kafka (too large, …)."""


def publish_trace_file(settings: Settings, path: Path, *, timeout_s: float = 30.0) -> PublishedTrace:
    """Send a ``trace.jsonl`` and wait until Kafka has acknowledged all of it.

    Raises BadInput where the file cannot be read, no broker answers, or not everything is acknowledged
    within ``timeout_s`` seconds. Sending a file again is harmless.
    """
    messages = read_trace(path)
    ends = missing_ends(messages)
    connect_admin(settings, min(timeout_s, 5.0)).close()
    total = len(messages) + len(ends)
    with TracePublisher(settings, max_queued=total, max_queued_bytes=sys.maxsize) as publisher:
        for message in (*messages, *ends):
            publisher.push(message)
        unacknowledged = publisher.flush(timeout_s)
        refused = publisher.quarantined
        if unacknowledged > sum(map(len, refused.values())):
            reason = publisher.problem or f"no acknowledgement within {timeout_s:g} s"
            raise BadInput(f"{path}: {unacknowledged} of {total} messages are not published ({reason})")
    return PublishedTrace(
        runs=len({message.run_id for message in messages}),
        events=sum(isinstance(message, TraceEvent) for message in messages),
        ends_added=len(ends),
        refused=refused,
    )
