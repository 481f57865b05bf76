"""How long from a candidate's publication in one run to its lesson in another? At 500 events a second.

Runs publish through spools as a runner does, each process through its own, and this process follows the
snapshots as another run does. A pair is published when the event that completes it is given to the publisher,
which for some is the end of their run, and applied when the feed has a snapshot that has consumed it. What
lies in between is told by the timestamps of the messages, which the broker gives; they are read afterwards.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_pair, decode_snapshot, decode_trace
from streams.messages.contracts import PreferencePair, RewardSnapshot, RunEnd, TraceEvent, snapshot_key
from streams.messages.stored import StoredMessage
from streams.snapshots.feed import SnapshotFeed
from streams.spool.publisher import TracePublisher
from tests.bench.live import AS_IT_COMES, running
from tests.bench.measures import say
from tests.bench.results import Finding
from tests.bench.workload import make_workload
from tests.waiting import wait_until
from trainers.pairs.pairing import PairingRules, RunPairing

_PER_S = 500
_WARM_UP_S, _SETTLE_S, _SECONDS, _AFTER_S = 2, 2, 20, 1
_RUNNERS = 4
"""More would measure themselves: a request costs kafka-python 2 ms of the cores that all here share."""
_START_S = 60.0
_HEAD_START_S = 0.5
_LEGS = (
    "given to the publisher → on the disk",
    "on the disk → on the trace topic",
    "on the trace topic → its pair on the pairs topic",
    "pair on its topic → snapshot on its topic, not committed yet",
    "snapshot on its topic → applied",
)

EventKey = tuple[str, int | None]
"""Run and iteration; no iteration for the end of the run."""
_Event = TraceEvent | RunEnd


@dataclass(frozen=True, slots=True)
class _Times:
    """Of an event, in seconds of the wall clock, as Kafka's timestamps are."""

    due_s: float
    published_s: float
    on_disk_s: float


@dataclass(frozen=True, slots=True)
class _Applied:
    """A snapshot when the feed had it."""

    at_s: float
    version: int
    consumed: int


def main() -> None:
    settings = Settings.from_environment()
    warm_up, rest = _phases()
    completing = completing_events((*warm_up, *rest))
    applied: list[_Applied] = []

    def on_snapshot(snapshot: RewardSnapshot) -> None:
        consumed = snapshot.consumed.get(settings.pairs_topic, {}).get("0", 0)
        applied.append(_Applied(time.time(), snapshot.version, consumed))

    with (
        tempfile.TemporaryDirectory(prefix="tribrain-bench-") as folder,
        running(settings, Path(folder) / "trainer.log", AS_IT_COMES),
        SnapshotFeed(settings, on_snapshot=on_snapshot),
        _runners(settings, Path(folder)) as runners,
    ):
        _publish(runners)
        wait_until(lambda: applied, _START_S)
        times = _publish(runners)
        pairs: list[tuple[StoredMessage, PreferencePair]] = []
        deadline = time.monotonic() + _START_S
        while len(pairs) < len(completing) and time.monotonic() < deadline:
            pairs = _pairs_on(settings)
        wait_until(lambda: applied[-1].consumed > pairs[-1][0].offset, _START_S)
    began = min(t.due_s for t in times.values()) + _SETTLE_S
    measured = {key: t for key, t in times.items() if began <= t.due_s < began + _SECONDS}
    legs = list(_legs_ms(settings, pairs, completing, measured, applied))
    late = _cuts([(t.published_s - t.due_s) * 1e3 for t in measured.values()])
    note = (
        f"{len(measured) / _SECONDS:.0f} events/s wanted {_PER_S}, {len(legs):,} pairs, through {_RUNNERS} "
        f"spools, events late by {late[98]:.0f} ms at p99"
    )
    whole = _cuts([sum(pair) for pair in legs])
    name = "published in a run → applied in another"
    findings = [
        Finding(f"{name}, median", whole[49], "ms", note),
        Finding(f"{name}, p99", whole[98], "ms", note),
    ]
    for leg, taken in zip(_LEGS, zip(*legs, strict=True), strict=True):
        findings.append(Finding(leg, median(taken), "ms", f"median; p99 {_cuts(taken)[98]:.0f} ms"))
    say(findings)


def completing_events(events: Iterable[_Event]) -> dict[str, EventKey]:
    """Of every pair that these events make, by its id, the event with which it can be formed."""
    completing: dict[str, EventKey] = {}
    runs: dict[str, RunPairing] = {}
    for event in events:
        run = runs.setdefault(event.run_id, RunPairing(PairingRules()))
        pairs = run.add(event) if isinstance(event, TraceEvent) else run.finish()
        completing |= {pair.pair_id: _key(event) for pair in pairs}
    return completing


@contextmanager
def _runners(settings: Settings, folder: Path) -> Iterator[list[Connection]]:
    """Processes that publish one phase after the other; ended with the block."""
    context = multiprocessing.get_context("spawn")
    ours: list[Connection] = []
    processes = []
    for number in range(_RUNNERS):
        here, there = context.Pipe()
        arguments = (settings, folder / f"spool-{number}.db", number, there)
        processes.append(context.Process(target=_run, args=arguments, daemon=True))
        ours.append(here)
    for process in processes:
        process.start()
    try:
        yield ours
    finally:
        for process in processes:
            process.join(_START_S)


def _publish(runners: Sequence[Connection]) -> dict[EventKey, _Times]:
    """All runners keep to one timetable; when their events of the next phase were published."""
    for runner in runners:
        runner.recv()
    began_s = time.time() + _HEAD_START_S
    for runner in runners:
        runner.send(began_s)
    times: dict[EventKey, _Times] = {}
    for runner in runners:
        times |= runner.recv()
    return times


def _run(settings: Settings, spool: Path, number: int, connection: Connection) -> None:
    phases = _phases()
    with TracePublisher(settings, spool) as publisher:
        for events in phases:
            own = [(nth, e) for nth, e in enumerate(events) if _runner_of(e.run_id) == number]
            connection.send("ready")
            began_s: float = connection.recv()
            times: dict[EventKey, _Times] = {}
            for nth, event in own:
                due_s = began_s + nth / _PER_S
                time.sleep(max(0.0, due_s - time.time()))
                published_s = time.time()
                publisher.push(event)
                times[_key(event)] = _Times(due_s, published_s, time.time())
            connection.send(times)


def _legs_ms(
    settings: Settings,
    pairs: Iterable[tuple[StoredMessage, PreferencePair]],
    completing: dict[str, EventKey],
    measured: dict[EventKey, _Times],
    applied: Iterable[_Applied],
) -> Iterator[tuple[float, ...]]:
    """Of each pair that is measured, in the order of _LEGS. Kafka's timestamps are whole milliseconds."""
    traced = {
        _key(decode_trace(m.value, m)): m.timestamp_ms for m in read_topic(settings, settings.trace_topic)
    }
    key = snapshot_key(PairingRules().model).encode()
    served = {
        decode_snapshot(m.value, m.source).version: m.timestamp_ms
        for m in read_topic(settings, settings.snapshots_topic)
        if m.key == key
    }
    snapshots = iter(applied)
    snapshot = next(snapshots)
    for message, pair in pairs:
        while snapshot.consumed <= message.offset:
            snapshot = next(snapshots)
        event = completing[pair.pair_id]
        if event not in measured:
            continue
        t = measured[event]
        moments = (
            t.published_s * 1e3,
            t.on_disk_s * 1e3,
            float(traced[event]),
            float(message.timestamp_ms),
            float(served[snapshot.version]),
            snapshot.at_s * 1e3,
        )
        yield tuple(then - before for before, then in pairwise(moments))


def _pairs_on(settings: Settings) -> list[tuple[StoredMessage, PreferencePair]]:
    found = []
    for message in read_topic(settings, settings.pairs_topic):
        decoded = decode_pair(message.value, message)
        if isinstance(decoded, PreferencePair):
            found.append((message, decoded))
    return found


def _phases() -> tuple[tuple[_Event, ...], tuple[_Event, ...]]:
    """What is published while the trainer starts, and what follows it."""
    seconds = _WARM_UP_S + _SETTLE_S + _SECONDS + _AFTER_S
    events = make_workload(_PER_S * seconds, seed=0).events[: _PER_S * seconds]
    return events[: _PER_S * _WARM_UP_S], events[_PER_S * _WARM_UP_S :]


def _key(event: _Event) -> EventKey:
    return event.run_id, event.iter_idx if isinstance(event, TraceEvent) else None


def _runner_of(run_id: str) -> int:
    return int(run_id.rpartition("-")[2]) % _RUNNERS


def _cuts(values: Iterable[float]) -> list[float]:
    return quantiles(values, n=100)


if __name__ == "__main__":
    main()
