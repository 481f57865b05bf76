"""How long from a candidate's publication in one run to its lesson in another? At 500 events a second.

Runs publish through their spools as a runner does, and another runner's feed follows the snapshots. A pair is
applied when the feed has a snapshot that has consumed it.
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from pathlib import Path
from statistics import quantiles

from streams.kafka.follow import TopicFollower
from streams.kafka.settings import Settings
from streams.messages.codec import decode_pair
from streams.messages.contracts import PreferencePair, RewardSnapshot, RunEnd, TraceEvent
from streams.messages.stored import StoredMessage
from streams.snapshots.feed import SnapshotFeed
from streams.spool.publisher import TracePublisher
from tests.bench.live import AS_IT_COMES, running
from tests.bench.measures import say
from tests.bench.results import Finding
from tests.bench.workload import make_workload
from tests.waiting import wait_until

_PER_S = 500
_SECONDS = 20
_RUNNERS = 10
_START_S = 60.0


def main() -> None:
    settings = Settings.from_environment()
    workload = make_workload(_PER_S * (_SECONDS + 4), seed=0)
    published: dict[tuple[str, int], float] = {}
    pairs: list[tuple[int, tuple[str, int]]] = []
    applied: list[tuple[float, int]] = []

    def on_pair(message: StoredMessage) -> None:
        decoded = decode_pair(message.value, message.source)
        if isinstance(decoded, PreferencePair):
            newest = max(_iteration(decoded.chosen_artifact), _iteration(decoded.rejected_artifact))
            pairs.append((message.offset, (decoded.run_id, newest)))

    def on_snapshot(snapshot: RewardSnapshot) -> None:
        applied.append((time.perf_counter(), snapshot.consumed.get(settings.pairs_topic, {}).get("0", 0)))

    warm_up, measured = workload.events[: 2 * _PER_S], workload.events[2 * _PER_S : _PER_S * (_SECONDS + 2)]
    with tempfile.TemporaryDirectory(prefix="tribrain-bench-") as name:
        folder = Path(name)
        with (
            running(settings, folder / "trainer.log", AS_IT_COMES),
            SnapshotFeed(settings, on_snapshot=on_snapshot),
            TopicFollower(settings, (settings.pairs_topic,), on_pair),
        ):
            _publish(settings, warm_up, folder, published)
            wait_until(lambda: applied, _START_S)
            published.clear()
            _publish(settings, measured, folder, published)
            wait_until(lambda: pairs and applied[-1][1] > pairs[-1][0], _START_S)
    taken_ms = sorted(_latencies_ms(published, pairs, applied))
    cuts = quantiles(taken_ms, n=100)
    note = (
        f"{len(published) / _SECONDS:.0f} events/s wanted {_PER_S}, {len(taken_ms):,} pairs, through spools"
    )
    say(
        [
            Finding("published in a run → applied in another, median", cuts[49], "ms", note),
            Finding("published in a run → applied in another, p99", cuts[98], "ms", note),
        ]
    )


def _publish(
    settings: Settings,
    events: tuple[TraceEvent | RunEnd, ...],
    folder: Path,
    published: dict[tuple[str, int], float],
) -> None:
    """Each runner has its own runs and its own spool, and all keep to one timetable."""
    began = time.perf_counter() + 0.5
    by_runner: list[list[tuple[float, TraceEvent | RunEnd]]] = [[] for _ in range(_RUNNERS)]
    for number, event in enumerate(events):
        by_runner[hash(event.run_id) % _RUNNERS].append((began + number / _PER_S, event))

    def run(number: int) -> None:
        pause = threading.Event()
        with TracePublisher(settings, folder / f"spool-{number}.db") as publisher:
            for due, event in by_runner[number]:
                pause.wait(max(0.0, due - time.perf_counter()))
                if isinstance(event, TraceEvent):
                    published[event.run_id, event.iter_idx] = time.perf_counter()
                publisher.push(event)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(_RUNNERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _latencies_ms(
    published: dict[tuple[str, int], float],
    pairs: list[tuple[int, tuple[str, int]]],
    applied: list[tuple[float, int]],
) -> list[float]:
    taken, snapshots = [], iter(applied)
    at, consumed = next(snapshots)
    for offset, event in pairs:
        while consumed <= offset:
            at, consumed = next(snapshots)
        if event in published:
            taken.append((at - published[event]) * 1e3)
    return taken


def _iteration(artifact: str) -> int:
    found = re.search(r"iter_(\d+)", artifact)
    if found is None:
        raise RuntimeError(f"{artifact!r} names no iteration")
    return int(found[1])


if __name__ == "__main__":
    main()
