"""Follows the topics while a demo runs, and shows its progress."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from runner.loop.result import RunResult
from streams.errors import counted
from streams.kafka.settings import Settings
from streams.messages.codec import decode_pair, decode_trace
from streams.messages.contracts import PairsEnd, PreferencePair, RewardSnapshot, TraceEvent
from streams.messages.stored import StoredMessage
from streams.messages.votes import Vote
from trainers.evidence.gate import OPENS_AT
from tribrain.demo.lora import AdapterMonitor
from tribrain.shell.supervisor import ServiceProcess

_RATE_WINDOW_S = 5.0
_PLAIN_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class DemoRun:
    goal: str
    result: RunResult


class Monitor:
    """Follows the topics from the demo's process; everything it counts has been on Kafka."""

    def __init__(
        self,
        settings: Settings,
        services: Sequence[ServiceProcess],
        started: float,
        tasks: int,
        adapters: AdapterMonitor | None = None,
    ) -> None:
        """``services``: the trainer, and whatever else the demo keeps alive."""
        # Not at the top: they bring Kafka's client.
        from streams.kafka.follow import TopicFollower
        from streams.snapshots.feed import SnapshotFeed

        self._services = services
        self.adapters = adapters
        self.started = 0
        """Number of runs that were begun."""
        self._tasks = tasks
        self.finished: list[DemoRun] = []
        self.history: list[dict[str, Any]] = []
        self.pair_ids: set[str] = set()
        self._expected: set[str] = set()
        self.labels: Counter[str] = Counter()
        self._started = started
        self._settings = settings
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._event_times: deque[float] = deque()
        self._ended_runs: set[str] = set()
        self._trace_read: dict[int, int] = {}
        self._events = 0
        self._pairs_read: dict[str, int] = {}
        self.feed = SnapshotFeed(settings, on_snapshot=self._on_snapshot)
        self._follower = TopicFollower(
            settings, (settings.trace_topic, settings.pairs_topic), self._on_message
        )

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._follower.close()
        self.feed.close()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    @property
    def events(self) -> int:
        """Number of iterations and ends on the trace topic."""
        return self._events

    @property
    def events_per_s(self) -> float:
        """Events per second over the last five seconds."""
        since = time.monotonic() - _RATE_WINDOW_S
        with self._lock:
            return sum(t > since for t in self._event_times) / _RATE_WINDOW_S

    @property
    def tasks(self) -> int:
        """Number of runs that are planned or begun, whichever is larger."""
        return max(self._tasks, self.started)

    @property
    def trainer_restarts(self) -> int:
        return self._services[0].restarts

    @property
    def completed(self) -> int:
        """Number of runs that ended without an interrupt."""
        with self._lock:
            return sum(run.result.stop_reason != "interrupted" for run in self.finished)

    def expect(self, votes: Iterable[Vote]) -> None:
        """Count nothing as learnt until the pairs of these votes are."""
        # Not at the top: it brings the pair former.
        from trainers.pairs.votes import pair_id_of

        with self._lock:
            self._expected |= {pair_id_of(vote.vote_id) for vote in votes if vote.gives_a_pair}

    def keep_alive(self) -> None:
        """Restart services that have died."""
        for service in self._services:
            service.keep_alive()

    def run_finished(self, run: DemoRun) -> None:
        with self._lock:
            self.finished.append(run)

    def wait_until_learnt(self, timeout_s: float) -> bool:
        """Wait until every finished run's pairs are in a published snapshot; False after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._all_learnt():
                if time.monotonic() >= deadline:
                    return False
                self._changed.wait(deadline - time.monotonic())
            return True

    def _all_learnt(self) -> bool:
        n_events = sum(run.result.candidates + 1 for run in self.finished)
        if self.events < n_events or not {run.result.run_id for run in self.finished} <= self._ended_runs:
            return False
        if not self._expected <= self.pair_ids:
            return False
        latest = self.feed.latest()
        consumed = latest.consumed.get(self._settings.pairs_topic, {}) if latest else {}
        return all(consumed.get(partition, 0) >= read for partition, read in self._pairs_read.items())

    def _on_message(self, message: StoredMessage) -> None:
        with self._changed:
            if message.topic == self._settings.trace_topic:
                # By offset, as a follower that had to start again reads the same messages again.
                if message.offset < self._trace_read.get(message.partition, 0):
                    return
                self._trace_read[message.partition] = message.offset + 1
                event = decode_trace(message.value, message.source)
                if self.adapters is not None and isinstance(event, TraceEvent):
                    self.adapters.on_event(event)
                self._events += 1
                self._event_times.append(time.monotonic())
                while self._event_times[0] < time.monotonic() - _RATE_WINDOW_S:
                    self._event_times.popleft()
                return
            pair = decode_pair(message.value, message.source)
            if isinstance(pair, PreferencePair):
                # A pair that comes again after a crash changes no snapshot, so it is not waited for.
                if pair.pair_id not in self.pair_ids:
                    self.pair_ids.add(pair.pair_id)
                    self.labels[pair.label_source] += 1
                    self._pairs_read[str(message.partition)] = message.offset + 1
            elif isinstance(pair, PairsEnd):
                self._ended_runs.add(pair.run_id)
            self._changed.notify_all()

    def _on_snapshot(self, snapshot: RewardSnapshot) -> None:
        trusted = snapshot.metrics["trusted"] or {}
        with self._changed:
            self.history.append(
                {
                    "version": snapshot.version,
                    "gate": snapshot.gate,
                    "time_s": self.elapsed_s,
                    "labels": dict(snapshot.labels),
                    "weights": dict(snapshot.weights),
                    "log_loss": trusted.get("log_loss"),
                    "log_loss_critics_mean": trusted.get("log_loss_critics_mean"),
                    "trusted_pairs": trusted.get("n", 0),
                    "evidence": snapshot.metrics["gate"]["evidence"],
                }
            )
            self._changed.notify_all()


@contextmanager
def show(monitor: Monitor, console: Console) -> Iterator[None]:
    """Show live figures on a terminal, and a plain line every few seconds elsewhere."""
    if console.is_terminal:
        with Live(
            console=console, get_renderable=lambda: _table(monitor), refresh_per_second=4, transient=True
        ):
            yield
        return
    over = threading.Event()

    def report() -> None:
        while not over.wait(_PLAIN_EVERY_S):
            console.print(" · ".join(f"{name} {value}" for name, value in figures(monitor)), soft_wrap=True)

    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def figures(monitor: Monitor) -> list[tuple[str, str]]:
    """Names and values of the figures shown, in the order of the screen."""
    latest = monitor.history[-1] if monitor.history else None
    shown = [
        ("runs", f"{len(monitor.finished)}/{monitor.tasks}"),
        ("events", f"{monitor.events} ({monitor.events_per_s:.1f}/s)"),
        ("pairs", ", ".join(f"{n} {source}" for source, n in sorted(monitor.labels.items())) or "0"),
    ]
    if monitor.adapters is not None:
        shown.append(("text reward", _adapter_figure(monitor.adapters)))
    if latest is None:
        return [*shown, ("snapshot", f"none yet; {_awaited(monitor)}")]
    evidence = f"evidence {latest['evidence']:,.1f} of the {OPENS_AT:g} needed"
    shown.append(("snapshot", f"v{latest['version']} ({latest['gate']}, {evidence})"))
    if latest["log_loss"] is not None:
        loss = f"{latest['log_loss']:.3f} against {latest['log_loss_critics_mean']:.3f} of the critics' mean"
        shown.append(("test-then-train log loss", loss))
    if monitor.trainer_restarts:
        shown.append(("trainer restarts", str(monitor.trainer_restarts)))
    return shown


def _awaited(monitor: Monitor) -> str:
    if monitor.labels:
        return "the trainer learns its first pairs"
    return "the trainer is starting, and forms pairs from the first runs"


def _adapter_figure(adapters: AdapterMonitor) -> str:
    newest = adapters.newest
    if newest is None:
        return "none yet"
    return f"v{newest['version']} ({newest['gate']}), {counted(adapters.scored, 'prompt')} scored"


def _table(monitor: Monitor) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("", ProgressBar(total=monitor.tasks, completed=len(monitor.finished), width=60))
    for name, value in figures(monitor):
        table.add_row(f"[bold]{name}", value)
    return table
