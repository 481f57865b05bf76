"""A run's ``trace.jsonl``: events are written to it before anyone else gets them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from itertools import accumulate
from pathlib import Path

import orjson

from runner.interfaces import EventSink
from runner.loop.course import has_failed
from runner.loop.result import run_result
from runner.loop.stopping import MAX_FAILURES
from streams.errors import BadInput
from streams.fail_points import reach
from streams.files import read_bytes, sync_directory
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import RunEnd, TraceEvent, TraceMessage
from streams.messages.files import trace_line
from streams.messages.revisions import newest_revisions


class RunRecord:
    """Appends to ``out_dir/trace.jsonl``, then pushes to the sink; an event is never in the sink alone.

    Raises BadInput if ``out_dir`` already holds a trace. With ``take_up`` it continues that trace instead,
    however the process that wrote it ended. ``events`` then holds the recorded whole steps, of ``take_up``
    candidates each, and the last of them is pushed again. The loop must produce the same events again, which
    checks that it is the same loop. If the run was rescored, ``events`` holds its newest revision, and
    nothing can be added unless it is reopened. ``push_again`` pushes what the earlier process
    may not have pushed.

    ``publisher`` is a second sink, for readers elsewhere. A continued run pushes all that it recorded to it
    again, except ``published``. With ``holds_failures`` it gets neither the end of a run that failed or
    was given up, nor the failures that the run would try again if it continued.
    """

    def __init__(
        self,
        out_dir: Path,
        run_id: str,
        sink: EventSink | None,
        *,
        take_up: int | None = None,
        publisher: EventSink | None = None,
        holds_failures: bool = False,
    ) -> None:
        self.path = out_dir / "trace.jsonl"
        self.run_id = run_id
        self.events: list[TraceEvent] = []
        self._sink = sink
        self._messages: list[TraceEvent | RunEnd] = []
        self._ends: list[int] = []
        self._pushed = 0
        self._publisher = publisher
        self._holds_failures = holds_failures
        self._sent = 0
        """Messages that the publisher has, or has before it."""
        self._per_step = take_up or 1
        self._to_replay = 0
        self.published: Collection[int] = ()
        """Iterations that the publisher need not be given again."""
        self.stop_reason: str | None = None
        """Why the run ended; None if it has not."""
        if take_up is not None and self.path.exists():
            self._take_up(take_up)
            return
        if self.path.exists():
            raise BadInput(f"{self.path}: already exists, and one trace holds one run; choose another --out")
        try:
            out_dir.mkdir(parents=True, exist_ok=True)
            self.path.open("xb").close()
        except OSError as error:
            raise BadInput(
                f"{self.path}: cannot be created: {error.strerror}; choose another --out"
            ) from None
        sync_directory(out_dir)

    @property
    def newest_end(self) -> RunEnd | None:
        """The end of the newest revision; None if the run has not ended."""
        ends = (message for message in newest_revisions(self._messages) if isinstance(message, RunEnd))
        return next(ends, None)

    @property
    def made(self) -> list[TraceEvent]:
        """The events as the run recorded them, whatever was rescored since."""
        return [
            message for message in self._messages if isinstance(message, TraceEvent) and not message.revision
        ]

    def add(self, *events: TraceEvent) -> None:
        """Record the candidates of a step. None is pushed before all of them are written.

        Raises ContractError, and records nothing, if one could not be read back. Raises BadInput if one
        differs from what is already recorded.
        """
        for event in events:
            decode_trace(encode(event), f"iteration {event.iter_idx}")
        if self._to_replay:
            self._check_replay(events)
            return
        self.events += events
        self._messages += events
        self._settle()

    def end(self, stop_reason: str) -> None:
        """Record the end of the run, after whatever an interruption left undone."""
        self._settle()
        self.stop_reason = stop_reason
        self._messages.append(
            RunEnd(
                run_id=self.run_id,
                iterations=tuple(event.iter_idx for event in self.events),
                stop_reason=stop_reason,
            )
        )
        self._settle()

    def reopen(self, n_events: int) -> None:
        """Remove the end, all events but the first ``n_events`` and all revisions.

        They must not have been published.
        """
        self.stop_reason = None
        self.events = self.made[:n_events]
        self._messages = [*self.events]
        self._ends = self._ends[:n_events]
        self._pushed = min(self._pushed, n_events)
        self._sent = 0
        self._to_replay = n_events
        os.truncate(self.path, self._ends[-1] if self._ends else 0)

    def push_again(self) -> None:
        """Push what an earlier process may not have pushed: the last step, or the end and all revisions."""
        self._settle()

    def _settle(self) -> None:
        """Write and push what is pending. If it is interrupted, the next call does the rest.

        A line counts once its end is noted. Until then the same line is written again over what an
        interrupted write left, so the trace has no partial or duplicate lines. A push may be repeated;
        receivers recognise an event by its identity.
        """
        while len(self._ends) < len(self._messages):
            line = encode(self._messages[len(self._ends)]) + b"\n"
            start = self._ends[-1] if self._ends else 0
            self._write(line, start)
            self._ends.append(start + len(line))
            reach("record.written")
        while self._sink is not None and self._pushed < len(self._messages):
            self._sink.push(self._messages[self._pushed])
            self._pushed += 1
            reach("record.pushed")
        due = self._due() if self._publisher is not None else 0
        while self._publisher is not None and self._sent < due:
            message = self._messages[self._sent]
            if not (isinstance(message, TraceEvent) and message.iter_idx in self.published):
                self._publisher.push(message)
            self._sent += 1

    def _write(self, line: bytes, start: int) -> None:
        try:
            with self.path.open("r+b") as file:
                file.seek(start)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _due(self) -> int:
        """Number of messages that the publisher may be given by now.

        What is due stays due: a later failure holds back only failed steps right before it.
        """
        if not self._holds_failures or any(message.revision for message in self._messages[-1:]):
            return len(self._messages)
        if self.stop_reason is None:
            return self._due_before_the_end()
        if not run_result(self.run_id, self.events, self.stop_reason).failure:
            return len(self._messages)
        return before_failures(self.events, self._per_step, is_given_up=self.stop_reason == MAX_FAILURES)

    def _due_before_the_end(self) -> int:
        if not self._holds_failures:
            return len(self.events)
        might_be_given_up = any(map(has_failed, self.events[-self._per_step :]))
        return before_failures(self.events, self._per_step, is_given_up=might_be_given_up)

    def _take_up(self, per_step: int) -> None:
        """Load the recorded events, but not a line or step that was cut short: it was never published."""
        raw = read_bytes(self.path)
        lines = raw.split(b"\n")[:-1]
        messages = [
            trace_line(line, f"{self.path}@line {number}") for number, line in enumerate(lines, start=1)
        ]
        own = [message for message in messages if not message.revision]
        self.events = [message for message in own if isinstance(message, TraceEvent)]
        ended = bool(own) and isinstance(own[-1], RunEnd)
        if (
            len(own) != len(self.events) + ended
            or messages[: len(own)] != own
            or any(m.run_id != self.run_id for m in messages)
        ):
            raise BadInput(
                f"{self.path}: is not the trace of run {self.run_id!r} alone; choose another --out"
            )
        if len(messages) > len(own):
            self._take_up_rescored(messages, [len(line) + 1 for line in lines], len(self.events))
            return
        cut = 0 if ended else len(messages) % per_step
        self.events = self.events[: len(self.events) - cut]
        self._messages = [*self.events]
        if ended and isinstance(own[-1], RunEnd):
            self._messages.append(own[-1])
            self.stop_reason = own[-1].stop_reason
        self._ends = list(accumulate(len(line) + 1 for line in lines[: len(self._messages)]))
        os.truncate(self.path, self._ends[-1] if self._ends else 0)
        # A step is pushed before the next one is written, and all steps before the end is written.
        self._pushed = max(0, len(self._messages) - (1 if ended else per_step))
        self._sent = self._due_before_the_end() if ended else 0
        self._to_replay = 0 if ended else len(self.events)

    def _take_up_rescored(self, messages: Sequence[TraceMessage], sizes: Sequence[int], n_own: int) -> None:
        """Load a run that has ended and was rescored; nothing of it is pushed yet."""
        newest = newest_revisions(messages)
        self.events = [message for message in newest if isinstance(message, TraceEvent)]
        self.stop_reason = next((m.stop_reason for m in newest if isinstance(m, RunEnd)), "")
        self._messages = [*messages]
        self._ends = list(accumulate(sizes))
        self._pushed = n_own
        self._sent = 0 if self._holds_failures else n_own

    def _check_replay(self, events: Sequence[TraceEvent]) -> None:
        first = len(self.events) - self._to_replay
        for event, before in zip(events, self.events[first:], strict=False):
            if differences := _differences(before, event):
                raise BadInput(
                    f"{self.path}: iteration {event.iter_idx} differs from the recorded one "
                    f"({', '.join(differences)}): options, files or the program have changed since; "
                    "continue with those that the run was started with, or choose another --out"
                )
        self._to_replay -= len(events)


def before_failures(events: Sequence[TraceEvent], per_step: int, *, is_given_up: bool) -> int:
    """Number of candidates before the failed steps at the end of a run, which a continued run tries again.

    The step at which a run was given up is one of them, whatever else it has.
    """
    n = len(events) - (per_step if is_given_up else 0)
    while n and all(map(has_failed, events[n - per_step : n])):
        n -= per_step
    return n


def _differences(before: TraceEvent, event: TraceEvent) -> list[str]:
    """Names of the fields that differ, except for times."""
    old, new = (orjson.loads(encode(one)) for one in (before, event))
    old, new = old | old.pop("meta"), new | new.pop("meta")
    return sorted(
        name for name in old.keys() | new.keys() if name != "iter_time_s" and old.get(name) != new.get(name)
    )
