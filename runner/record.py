"""What a run leaves behind: its ``trace.jsonl``, written before anyone else hears of an event."""

from __future__ import annotations

import os
from pathlib import Path

from runner.interfaces import EventSink
from streams.codec import decode_trace, encode
from streams.contracts import RunEnd, TraceEvent
from streams.errors import BadInput
from streams.files import sync_directory


class RunRecord:
    """Appends to ``out_dir/trace.jsonl``, then pushes to the sink; an event is never in the sink alone.

    Raises BadInput where ``out_dir`` already holds a trace.
    """

    def __init__(self, out_dir: Path, run_id: str, sink: EventSink | None) -> None:
        self.path = out_dir / "trace.jsonl"
        self.run_id = run_id
        self.events: list[TraceEvent] = []
        self._sink = sink
        self._messages: list[TraceEvent | RunEnd] = []
        self._ends: list[int] = []
        self._pushed = 0
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

    def add(self, event: TraceEvent) -> None:
        """Record an iteration. Raises ContractError, and records nothing, if it could not be read back."""
        decode_trace(encode(event), f"iteration {event.iter_idx}")
        self.events.append(event)
        self._messages.append(event)
        self._settle()

    def end(self, stop_reason: str) -> None:
        """Record the end of the run, and first whatever an interruption left undone."""
        self._settle()
        self._messages.append(
            RunEnd(
                run_id=self.run_id,
                iterations=tuple(event.iter_idx for event in self.events),
                stop_reason=stop_reason,
            )
        )
        self._settle()

    def _settle(self) -> None:
        """Do what is left to do. It may be interrupted anywhere: the next call does the rest.

        A line counts once its end is noted, and until then the same line is written again over what an
        interrupted write left; so the trace has no half lines and no line twice. A push may be repeated, and
        receivers know an event by its identity.
        """
        while len(self._ends) < len(self._messages):
            line = encode(self._messages[len(self._ends)]) + b"\n"
            start = self._ends[-1] if self._ends else 0
            with self.path.open("r+b") as file:
                file.seek(start)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._ends.append(start + len(line))
        while self._sink is not None and self._pushed < len(self._messages):
            self._sink.push(self._messages[self._pushed])
            self._pushed += 1
