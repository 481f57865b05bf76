"""The job done by ``tribrain serve-trainer`` or a peer, watched from outside through its topics."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.errors import BadInput
from streams.kafka.follow import TopicFollower
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE, TOPIC_PREFIX_VARIABLE, Settings
from streams.messages.codec import decode_pair, decode_snapshot
from streams.messages.contracts import PairsEnd, snapshot_key
from streams.messages.stored import StoredMessage
from tests.bench.core import SNAPSHOT_EVERY_S
from tests.bench.jobs import Measurement, pair_ids
from tests.bench.workload import Workload
from trainers.pairs.pairing import PairingRules

AS_IT_COMES = (sys.executable, "-m", "tribrain.cli", "serve-trainer")
TRAINER = (*AS_IT_COMES, "--snapshot-every-s", str(SNAPSHOT_EVERY_S))

_LOOK_AFTER_IT_EVERY_S = 0.2
_START_S = 60.0
_LONGEST_PER_EVENT_S = 0.02
_GRACE_S = 5.0
_LOG_TAIL_LINES = 12
_SNAPSHOT_KEY = snapshot_key(PairingRules().model).encode()


def live(settings: Settings, workload: Workload) -> Measurement:
    """By ``tribrain serve-trainer``. Raises BadInput where the trainer dies or stays silent."""
    return by_program(settings, workload, TRAINER)


def by_program(settings: Settings, workload: Workload, program: Sequence[str]) -> Measurement:
    """From the first pair on Kafka to the snapshot that covers the last end; the start-up before is left out.

    The events are on the trace topic beforehand. Raises BadInput where the program dies or stays silent.
    """
    with tempfile.TemporaryDirectory(prefix="tribrain-bench-") as folder:
        log = Path(folder) / "trainer.log"
        with running(settings, log, program) as process:
            watch = _Watch(settings, workload.runs, process.pid)
            topics = (settings.pairs_topic, settings.snapshots_topic)
            deadline = time.monotonic() + _START_S + _LONGEST_PER_EVENT_S * len(workload.events)
            with TopicFollower(settings, topics, watch.on_message):
                while not watch.done.wait(_LOOK_AFTER_IT_EVERY_S):
                    if process.poll() is not None:
                        raise BadInput(
                            f"the trainer ended with exit code {process.returncode}:\n{_tail(log)}"
                        )
                    if time.monotonic() > deadline:
                        raise BadInput(f"the trainer did not get done: {watch.progress}:\n{_tail(log)}")
        return watch.measurement()


@dataclass(frozen=True, slots=True)
class _Clocks:
    """Seconds since some moment, and processor seconds of the trainer since its start."""

    wall_s: float
    cpu_s: float | None

    @classmethod
    def read(cls, pid: int) -> _Clocks:
        return cls(wall_s=time.perf_counter(), cpu_s=process_cpu_s(pid))


class _Watch:
    """What came of the events so far, as seen on the topics; called in the follower's thread."""

    def __init__(self, settings: Settings, n_runs: int, pid: int) -> None:
        self._pairs_topic = settings.pairs_topic
        self._n_runs = n_runs
        self._pid = pid
        self._values: list[bytes] = []
        self._next_offsets: dict[str, int] = {}
        self._ended_runs: set[str] = set()
        self._newest_snapshot: StoredMessage | None = None
        self._first_pair: _Clocks | None = None
        self._all_learnt: _Clocks | None = None
        self.done = threading.Event()

    @property
    def progress(self) -> str:
        return f"{len(self._ended_runs)} of {self._n_runs} runs ended, {len(self._values)} messages on pairs"

    def on_message(self, message: StoredMessage) -> None:
        if self.done.is_set():
            return
        now = _Clocks.read(self._pid)
        if message.topic == self._pairs_topic:
            self._first_pair = self._first_pair or now
            self._take_pair(message)
        elif message.key == _SNAPSHOT_KEY:
            self._newest_snapshot = message
        # A snapshot is decoded only when it may be the last: this process must not slow the trainer down.
        if len(self._ended_runs) == self._n_runs and self._all_is_learnt():
            self._all_learnt = now
            self.done.set()

    def measurement(self) -> Measurement:
        begin, end = self._first_pair, self._all_learnt
        if begin is None or end is None:
            raise RuntimeError("measurement() comes after done")
        cpu_s = None if begin.cpu_s is None or end.cpu_s is None else end.cpu_s - begin.cpu_s
        ids = pair_ids(self._values, self._pairs_topic)
        return Measurement(wall_s=end.wall_s - begin.wall_s, cpu_s=cpu_s, pair_ids=ids)

    def _take_pair(self, message: StoredMessage) -> None:
        self._values.append(message.value)
        self._next_offsets[str(message.partition)] = message.offset + 1
        pair_or_end = decode_pair(message.value, message.source)
        if isinstance(pair_or_end, PairsEnd):
            self._ended_runs.add(pair_or_end.run_id)

    def _all_is_learnt(self) -> bool:
        if self._newest_snapshot is None:
            return False
        snapshot = decode_snapshot(self._newest_snapshot.value, self._newest_snapshot.source)
        consumed = snapshot.consumed.get(self._pairs_topic, {})
        return all(consumed.get(partition, 0) >= end for partition, end in self._next_offsets.items())


def process_cpu_s(pid: int) -> float | None:
    """User and system seconds of a running process; None where there is no /proc to ask."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return None
    # The second field is the program's name, which may hold spaces; utime and stime are the 14th and 15th.
    after_name = stat.read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    settings: Settings, log_path: Path, program: Sequence[str] = TRAINER
) -> Iterator[subprocess.Popen[bytes]]:
    """A trainer as a child process, ended with the block."""
    where = {
        BOOTSTRAP_SERVERS_VARIABLE: settings.bootstrap_servers,
        TOPIC_PREFIX_VARIABLE: settings.topic_prefix,
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            list(program),
            env=os.environ | where,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
