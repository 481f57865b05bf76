"""Publishes trace events to Kafka without ever delaying the run that produces them.

``push`` returns once the event is durable in the spool, whatever the broker does. One thread sends from the
spool and deletes what Kafka has acknowledged. Readers identify an event by (run id, iter_idx), so duplicates
do no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from kafka.errors import KafkaError

from streams.fail_points import reach
from streams.kafka.settings import Settings
from streams.kafka.writer import TopicWriter
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from streams.messages.limits import MAX_RECORD_BYTES
from streams.messages.stored import Record
from streams.messages.votes import Vote
from streams.spool.queue import MAX_BYTES, Spool, SpooledRecord, SpoolError, SpoolStatus

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_LOOK_AGAIN_S = 0.25
_LEAST_INTERVAL_S = 0.025
"""Least time between two requests: each costs about 2 ms of CPU time here, and more at the broker."""
_STOP_S = 3.0  # longer than the producer ever blocks
# The two activities that can fail; ``problem`` keeps one message for each.
_SPOOLING, _SENDING = "spooling", "sending"
_NOTHING = SpoolStatus(waiting={}, waiting_bytes=0, oldest_age_s=None, quarantined={})


class TracePublisher:
    """Sends events to the trace topic, through the spool in the file ``spool``, from one background thread.

    It also sends what an earlier process left in the spool. The thread continues by itself when an
    unreachable broker is back. Closing removes an empty spool. If the spool is full or cannot be used, events
    are refused: they are counted, and ``problem`` gives the reason. Nothing is raised, because the run's own
    ``trace.jsonl`` has them. ``max_spool_bytes`` limits the spool's size.
    """

    def __init__(self, settings: Settings, spool: Path, *, max_spool_bytes: int = MAX_BYTES) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._pushed = False
        self._closing = False
        self._refused: Counter[str] = Counter()
        self._problems: dict[str, str] = {}
        self._acknowledged: list[SpooledRecord] = []
        self._last_status = _NOTHING
        self._spool: Spool | None = None
        self._thread: threading.Thread | None = None
        try:
            self._spool = Spool(spool, max_bytes=max_spool_bytes)
        except SpoolError as error:
            self._report(_SPOOLING, str(error))
            return
        self._thread = threading.Thread(
            target=self._run, args=(self._spool,), name="trace-publisher", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def push(self, event: TraceEvent | RunEnd) -> None:
        """Put an event into the spool; on return it is on disk, or refused. Raises ContractError."""
        value = encode(event)
        record = Record(self._settings.trace_topic, event.run_id.encode(), value, event.run_id)
        try:
            self._put(record)
        except SpoolError as error:
            with self._changed:
                self._refused[record.run_id] += 1
            self._report(_SPOOLING, str(error))
            return
        self._clear(_SPOOLING)
        with self._changed:
            self._pushed = True
            self._changed.notify_all()

    def push_vote(self, vote: Vote) -> None:
        """Put a vote into the spool; on return it is on disk.

        Raises ContractError, and SpoolError if it could not be stored: there is no other copy.
        """
        key = vote.vote_id.encode()
        self._put(Record(self._settings.votes_topic, key, encode(vote), f"votes of {vote.annotator}"))
        self._clear(_SPOOLING)
        with self._changed:
            self._pushed = True
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> int:
        """Wait up to ``timeout_s`` seconds until everything is sent; returns how many events are not on
        Kafka."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._waits() and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left_s, _LOOK_AGAIN_S))
        status = self._status()
        quarantined = sum(map(len, status.quarantined.values()))
        return sum(status.waiting.values()) + quarantined + sum(self.refused.values())

    def close(self, timeout_s: float = 5.0) -> None:
        """Send waiting events for up to ``timeout_s`` seconds, then stop within 3 s. May be called twice."""
        if self._thread is None:
            return
        if not self._closing:
            self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_STOP_S)

    def unsent_runs(self) -> set[str]:
        """Runs with at least one event that is not on Kafka (yet)."""
        status = self._status()
        return {*self.refused, *status.waiting, *status.quarantined}

    @property
    def refused(self) -> dict[str, int]:
        """Run to the number of its events that the spool refused because it was full or unusable."""
        with self._changed:
            return dict(self._refused)

    @property
    def quarantined(self) -> dict[str, list[str]]:
        """Run to the reasons why some of its events stay in the spool: Kafka will never accept them."""
        return self._status().quarantined

    @property
    def status(self) -> SpoolStatus:
        """What the spool holds, or held when it could last be read."""
        return self._status()

    @property
    def problem(self) -> str | None:
        """Why events are refused, or else why none are being sent now, in one line; None if all is well."""
        with self._changed:
            return self._problems.get(_SPOOLING) or self._problems.get(_SENDING)

    def _put(self, record: Record) -> None:
        if self._spool is None or self._closing:
            raise SpoolError(self.problem or "the publisher is closed")
        if len(record.value) <= MAX_RECORD_BYTES:
            self._spool.append(record.topic, record.key, record.value, record.run_id)
        else:
            self._quarantine(self._spool, record, f"over the limit of {MAX_RECORD_BYTES} bytes")

    def _run(self, spool: Spool) -> None:
        writer = TopicWriter(self._settings, lambda: self._closing)
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._closing:
                begun_s = time.monotonic()
                try:
                    sent = self._send_oldest(spool, writer)
                except Exception as error:  # this thread is the only one that sends
                    self._report(_SENDING, self._why_nothing_is_sent(error), error)
                    with self._changed:
                        self._changed.wait_for(lambda: self._closing, pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    continue
                pause_s = _FIRST_PAUSE_S
                self._clear(_SENDING)
                if sent:
                    # A single event is sent at once; many events are grouped by interval.
                    time.sleep(max(0.0, begun_s + _LEAST_INTERVAL_S - time.monotonic()))
                else:
                    self._wait_for_more()
        finally:
            self._status()  # keeps the last status that can be read
            spool.close()
            writer.close()

    def _send_oldest(self, spool: Spool, writer: TopicWriter) -> bool:
        """Send one batch; returns whether there was anything to send. Raises KafkaError and SpoolError."""
        if not spool.may_send():
            raise SpoolError(f"{spool.path}: another process is sending from this spool")
        self._delete_acknowledged(spool)
        batch = spool.oldest()
        reach("publisher.batch-read")

        def acknowledged(records: Sequence[SpooledRecord]) -> None:
            reach("publisher.sent")
            self._acknowledged.extend(records)
            self._delete_acknowledged(spool)

        writer.deliver(
            batch,
            on_acknowledged=acknowledged,
            on_refused=lambda record, reason: self._quarantine(spool, record, reason),
        )
        return bool(batch)

    def _delete_acknowledged(self, spool: Spool) -> None:
        """Delete acknowledged records; if that fails they are remembered, so they are not sent again."""
        if not self._acknowledged:
            return
        spool.delete(self._acknowledged)
        self._acknowledged.clear()
        reach("publisher.deleted")
        with self._changed:
            self._changed.notify_all()

    def _quarantine(self, spool: Spool, record: Record, reason: str) -> None:
        spool.quarantine(record, f"{len(record.value)} bytes: {reason}")
        log.error("an event of run %s cannot be published: %s", record.run_id, reason)
        with self._changed:
            self._changed.notify_all()

    def _wait_for_more(self) -> None:
        """Wait for a push in this process, and look regularly for those of other processes."""
        with self._changed:
            self._changed.wait_for(lambda: self._pushed or self._closing, _LOOK_AGAIN_S)
            self._pushed = False

    def _waits(self) -> bool:
        try:
            return self._spool is not None and not self._spool.is_empty()
        except SpoolError:
            return False  # damaged or closed: waiting would not help

    def _status(self) -> SpoolStatus:
        if self._spool is not None:
            with suppress(SpoolError):
                self._last_status = self._spool.status()
        return self._last_status

    def _why_nothing_is_sent(self, error: Exception) -> str:
        if isinstance(error, SpoolError):
            return str(error)
        where = f"{self._settings.trace_topic} at {self._settings.bootstrap_servers}"
        if isinstance(error, KafkaError):
            return (
                f"{where} accepts nothing: {error}; "
                "check that the broker is up and the topics exist (`tribrain log topics create`)"
            )
        return f"sending to {where} fails and is retried: {type(error).__name__}: {error}"

    def _report(self, what: str, problem: str, error: Exception | None = None) -> None:
        with self._changed:
            is_new = what not in self._problems
            self._problems[what] = problem
        if is_new and not self._closing:
            happens = "are waiting to be" if what == _SENDING else "are not"
            is_expected = error is None or isinstance(error, KafkaError | SpoolError)
            log.warning("events %s published; %s", happens, problem, exc_info=None if is_expected else error)

    def _clear(self, what: str) -> None:
        with self._changed:
            was_there = self._problems.pop(what, None)
        if was_there:
            log.warning("events are being published again" if what == _SENDING else "events are stored again")
