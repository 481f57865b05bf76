"""All runs known to the page, from the trace topic and from folders, and the locations of their videos."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from streams.messages.contracts import RunEnd, TraceEvent, TraceMessage
from streams.messages.refusals import is_blank
from trainers.asking.pool import VotableCandidate, votable
from trainers.datasets.samples import Run, find_video
from tribrain.story.course import best_so_far
from tribrain.ui.links import digest
from tribrain.ui.problems import Problems
from tribrain.ui.stores import StoredVideo, Stores

_SILENT_S = 3600.0


@dataclass(slots=True)
class RunStory:
    """A run so far."""

    run_id: str
    events: dict[int, TraceEvent] = field(default_factory=dict)
    end: RunEnd | None = None
    folder: Path | None = None
    first_at_ms: int = 0
    last_at_ms: int = 0
    """Time of the newest event, in ms since 1970."""
    is_on_topic: bool = False
    """Whether any event is on Kafka; only then can votes on the run be learnt."""
    stores: Stores = field(default_factory=Stores)
    """The stores that may hold videos which are not in a folder."""

    @property
    def iterations(self) -> list[TraceEvent]:
        return [self.events[number] for number in sorted(self.events)]

    @property
    def state(self) -> str:
        """``running``, ``ended`` or ``silent``."""
        if self.end is not None:
            return "ended"
        return "silent" if time.time() - self.last_at_ms / 1000 > _SILENT_S else "running"

    @property
    def goal(self) -> str:
        return next((event.goal_instruction for event in self.iterations), "")

    @property
    def best(self) -> TraceEvent | None:
        """The best iteration, by the loop's choice or else by the critics; None without events."""
        return best_so_far(self.iterations)[-1] if self.events else None

    def video(self, event: TraceEvent) -> Path | StoredVideo | None:
        """The file in the run's folder, or else its possible places in stores; None if there are none."""
        if self.folder is not None:
            found = find_video(Run(folder=self.folder, run_id=self.run_id, events=()), event.artifact_path)
            if isinstance(found, Path):
                return found
        return self.stores.find(self.run_id, event.artifact_path)


class Library:
    """Runs by id and candidates by digest; thread-safe. ``version`` grows with every change."""

    def __init__(self, stores: Stores | None = None) -> None:
        self.version = 0
        self._stores = stores or Stores()
        self._lock = threading.Lock()
        self._runs: dict[str, RunStory] = {}
        self._names: dict[str, str] = {}
        self._candidates: dict[str, tuple[str, int]] = {}
        self._unplayable: set[tuple[str, int]] = set()
        self._missing: list[tuple[RunStory, TraceEvent]] = []
        self._votable: tuple[int, list[VotableCandidate]] = (-1, [])
        self.problems = Problems()

    def take(self, message: TraceMessage, at_ms: int, *, is_on_topic: bool = False) -> None:
        """Add an event or a run end; repetitions are ignored. ``at_ms`` is its time in ms since 1970."""
        with self._lock:
            new = RunStory(message.run_id, first_at_ms=at_ms, stores=self._stores)
            run = self._runs.setdefault(message.run_id, new)
            self._names[run_name(message.run_id)] = message.run_id
            run.is_on_topic = run.is_on_topic or is_on_topic
            if isinstance(message, RunEnd):
                if run.end is not None:
                    return
                run.end = message
            elif message.iter_idx in run.events:
                return
            else:
                run.events[message.iter_idx] = message
                self._candidates[digest(message.run_id, message.iter_idx)] = message.run_id, message.iter_idx
            run.first_at_ms = min(run.first_at_ms, at_ms)
            run.last_at_ms = max(run.last_at_ms, at_ms)
            self.version += 1

    def place(self, run_id: str, folder: Path) -> None:
        """Set the folder of a run's files."""
        with self._lock:
            run = self._runs.setdefault(run_id, RunStory(run_id, stores=self._stores))
            if run.folder is None:
                run.folder = folder
                self.version += 1

    def runs(self) -> list[RunStory]:
        """The runs with at least one event, newest first."""
        with self._lock:
            known = [run for run in self._runs.values() if run.events]
        return sorted(known, key=lambda run: (-run.last_at_ms, run.run_id))

    def run(self, run_id: str) -> RunStory | None:
        with self._lock:
            return self._runs.get(run_id)

    def named(self, name: str) -> RunStory | None:
        """The run with this ``run_name``."""
        with self._lock:
            run = self._runs.get(self._names.get(name, ""))
        return run if run is not None and run.events else None

    def candidate(self, name: str) -> tuple[RunStory, TraceEvent] | None:
        """The candidate with this digest of run and iteration."""
        with self._lock:
            found = self._candidates.get(name)
            return None if found is None else (self._runs[found[0]], self._runs[found[0]].events[found[1]])

    def event(self, candidate: tuple[str, int]) -> TraceEvent | None:
        run = self.run(candidate[0])
        return None if run is None else run.events.get(candidate[1])

    def look_again(self) -> None:
        """Look for all videos again, because one has come or gone."""
        with self._lock:
            self.version += 1

    def look_for_missing(self) -> None:
        """Look for the videos that ``votable`` did not find."""
        if any(run.video(event) is not None for run, event in self._missing):
            self.look_again()

    def leave_out(self, candidate: tuple[str, int]) -> None:
        """Exclude a candidate whose video no browser can play."""
        with self._lock:
            self._unplayable.add(candidate)
            self.version += 1

    def votable(self) -> list[VotableCandidate]:
        """Candidates with a video that can be shown."""
        version, known = self._votable
        if version == self.version:
            return known
        version = self.version
        found: list[VotableCandidate] = []
        missing: list[tuple[RunStory, TraceEvent]] = []
        for run in self.runs():
            for event in run.iterations:
                if (run.run_id, event.iter_idx) in self._unplayable:
                    continue
                if run.video(event) is None:
                    missing.append((run, event))
                else:
                    found.append(votable(event, _task_of(event)))
        self._votable, self._missing = (version, found), missing
        return found


def _task_of(event: TraceEvent) -> str:
    """The task within which videos are compared; runs without one are grouped by goal, as in learning."""
    named = str(event.meta.get("task_id") or "")
    goal = event.goal_instruction.strip()
    return named or (event.run_id if is_blank(goal) else goal)


def run_name(run_id: str) -> str:
    """A run's name in URLs: 20 hexadecimal digits, whatever its id contains."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:20]
