"""What load runs found, as a document."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process."""

    cpu_us: float
    """Processor time an event."""
    resident_mib: float
    """Memory at the end."""


@dataclass(frozen=True, slots=True)
class LoadRun:
    """Events at one rate, from the first one sent to the last one learnt."""

    per_s: int
    """Events a second that were to be sent."""
    events: int
    batched: bool
    """Whether the sender gathered events; otherwise each was a batch, as from many runs."""
    sent_s: float
    learnt_s: float
    """Until a snapshot had all of it."""
    behind_events: float
    """What had not been learnt when the last event was sent."""
    is_whole: bool
    """Whether there were as many pairs as the events make, neither fewer nor more."""
    trainer: Cost
    broker: Cost
    sender_us: float
    trace_bytes: float
    """On the broker's disk, an event."""
    pair_bytes: float
    """The same, a message of the pairs topic."""
    mark_bytes: float
    """The same, a run that is closed, before anything is compacted."""
    wire_bytes: float
    """Of all connections, both ways, with TCP's headers; an event."""
    snapshots_per_s: float
    snapshot_bytes: int
    checkpoint_bytes: int
    """The largest; 0 where none was written."""

    @property
    def learnt_per_s(self) -> float:
        """Events a second."""
        return self.events / self.learnt_s


_ROWS: tuple[tuple[str, Callable[[LoadRun], str]], ...] = (
    ("events/s wanted", lambda run: f"{run.per_s:,}"),
    ("batches", lambda run: "of 5 ms" if run.batched else "an event each"),
    ("events", lambda run: f"{run.events:,}"),
    ("events/s sent", lambda run: f"{run.events / run.sent_s:,.0f}"),
    ("events/s learnt", lambda run: f"{run.learnt_per_s:,.0f}"),
    ("events behind when the last was sent", lambda run: f"{run.behind_events:,.0f}"),
    ("seconds to catch up", lambda run: f"{run.learnt_s - run.sent_s:.1f}"),
    ("pairs lost or doubled", lambda run: "none" if run.is_whole else "some"),
    ("trainer, µs CPU/event", lambda run: f"{run.trainer.cpu_us:.0f}"),
    ("broker, µs CPU/event", lambda run: f"{run.broker.cpu_us:.0f}"),
    ("sender, µs CPU/event", lambda run: f"{run.sender_us:.0f}"),
    ("trainer, MiB", lambda run: f"{run.trainer.resident_mib:.0f}"),
    ("broker, MiB", lambda run: f"{run.broker.resident_mib:.0f}"),
    ("bytes on disk, an event", lambda run: f"{run.trace_bytes:.0f}"),
    ("bytes on disk, a pair", lambda run: f"{run.pair_bytes:.0f}"),
    ("bytes on disk, a closed run", lambda run: f"{run.mark_bytes:.0f}"),
    ("bytes on the wire, an event", lambda run: f"{run.wire_bytes:,.0f}"),
    ("snapshots/s", lambda run: f"{run.snapshots_per_s:.1f}"),
    ("bytes, a snapshot", lambda run: f"{run.snapshot_bytes:,}"),
    ("bytes, a checkpoint", lambda run: f"{run.checkpoint_bytes:,}"),
)


def as_markdown(runs: Sequence[LoadRun], at: datetime) -> str:
    """A column for each run."""
    rows = [f"| {name} | {' | '.join(text(run) for run in runs)} |" for name, text in _ROWS]
    return "\n".join(
        [
            "# The live trainer under events that keep coming",
            "",
            "Written by `python -m tests.bench.load --write`: sender, broker and trainer on one computer.",
            "",
            rows[0],
            "|---" + "|---:" * len(runs) + "|",
            *rows[1:],
            "",
            f"- {at.isoformat(timespec='seconds')}, {os.cpu_count()} cores",
            "- Bytes on the wire are those of sender, trainer and one reader of snapshots.",
            "",
        ]
    )
