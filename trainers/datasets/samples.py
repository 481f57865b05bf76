"""The usable videos of finished runs, and why the others were left out."""

from __future__ import annotations

import hashlib
import os
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.errors import BadInput
from streams.files import inside
from streams.messages.codec import ContractError, decode_trace
from streams.messages.contracts import TraceEvent
from streams.messages.files import read_events_by_run
from streams.messages.refusals import is_blank
from trainers.pairs.critic_rewards import rewards_in_runs, scores_lacked

FAILED = "failed candidates"
MISSING = "videos that are missing"
OUTSIDE = "videos outside their run's folder"
_TRACE = "trace.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run in a folder: its iterations in order, each once."""

    folder: Path
    run_id: str
    events: tuple[TraceEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A video that critics have judged, with everything that its run records about it."""

    event: TraceEvent
    video: Path
    critic_reward: float
    """Relative to all judged candidates of the runs, see ``trainers.pairs.critic_rewards``."""
    lacked: int = 0
    """Number of scores that other candidates among them have and this one lacks."""

    @property
    def id(self) -> str:
        """20 hexadecimal digits that depend only on run and iteration; usable as a file name."""
        identity = f"{self.event.run_id}\0{self.event.iter_idx}"
        return hashlib.sha256(identity.encode()).hexdigest()[:20]

    @property
    def task(self) -> str:
        return task_of(self.event)


def task_of(event: TraceEvent) -> str:
    """The task id or, if the run names none (it then holds the run's id), the goal.

    So all runs for one goal share a task, and no goal is both trained and tested on.
    """
    goal = plain(event.goal_instruction)
    return event.task_id if event.task_id != event.run_id or not goal else goal


def goal_of(event: TraceEvent) -> str:
    """The goal in the form used for comparisons."""
    return plain(event.goal_instruction)


def plain(text: str) -> str:
    """A goal or a prompt in the form used for comparisons: without case and extra spaces; empty if blank."""
    return "" if is_blank(text) else " ".join(text.casefold().split())


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """The runs in folders, each of them a run's folder (with ``trace.jsonl``) or one above such folders.

    Sorted by id; a run that is found twice counts once. Raises BadInput for a folder without a run, an
    unreadable trace, and two different runs with one id.
    """
    found: set[Path] = set()
    for given in folders:
        below = set(_run_folders(given))
        if not below:
            what = "it has no trace.jsonl, nor does a folder in it" if given.exists() else "no such folder"
            raise BadInput(f"{given}: {what}; give the folder of a run, or one that holds such folders")
        found |= below
    runs: dict[str, Run] = {}
    for folder in sorted(found):
        for run in _runs_in(folder):
            there = runs.setdefault(run.run_id, run)
            if there.events != run.events:
                raise BadInput(
                    f"{folder} and {there.folder}: hold different runs with the id {run.run_id!r}; "
                    "ids must be unique, so give only one of them"
                )
    return [runs[run_id] for run_id in sorted(runs)]


def folders_by_run(root: Path) -> dict[str, Path]:
    """Run id to folder, for all runs that ``read_runs`` would find, finished or not, by their first lines.

    Skips a trace whose first line is missing or unreadable. Of two folders with one id, the first by name
    counts.
    """
    found: dict[str, Path] = {}
    for folder in sorted(set(_run_folders(root))):
        trace = folder / _TRACE
        try:
            with trace.open("rb") as file:
                found.setdefault(
                    decode_trace(file.readline().removeprefix(BOM_UTF8), str(trace)).run_id, folder
                )
        except (OSError, ContractError):
            continue
    return found


def samples_of(runs: Iterable[Run]) -> tuple[list[Sample], Counter[str]]:
    """The usable videos, in the order of runs and iterations, and the number of unusable ones by reason."""
    samples = []
    left_out: Counter[str] = Counter()
    runs = list(runs)
    judged = [(run, event) for run in runs for event in run.events if event.overall_score is not None]
    n_lacked = scores_lacked([event for _, event in judged])
    lacked = {(run.run_id, event.iter_idx): n for (run, event), n in zip(judged, n_lacked, strict=True)}
    for run, rewards in zip(runs, rewards_in_runs([run.events for run in runs]), strict=True):
        for event in run.events:
            video = find_video(run, event.artifact_path)
            if event.overall_score is None:
                left_out[FAILED] += 1
            elif isinstance(video, str):
                left_out[video] += 1
            else:
                samples.append(
                    Sample(
                        event=event,
                        video=video,
                        critic_reward=rewards[event.iter_idx],
                        lacked=lacked[run.run_id, event.iter_idx],
                    )
                )
    return samples, left_out


def find_video(run: Run, artifact_path: str) -> Path | str:
    """The file of an iteration, or why it cannot be used: ``MISSING`` or ``OUTSIDE``.

    Paths by TriBrain 0.6.2 start with the name of the run's folder.
    """
    if not artifact_path:
        return MISSING
    places = [inside(run.folder, artifact_path)]
    first, _, rest = artifact_path.partition("/")
    if first == run.folder.name and rest:
        places.append(inside(run.folder, rest))
    known = [place for place in places if place is not None]
    if not known:
        return OUTSIDE
    return next((place for place in known if _is_file(place)), MISSING)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _run_folders(root: Path) -> Iterator[Path]:
    """``root`` itself if it is a run's folder, else those below it, at any depth; links are followed.

    Nothing is looked for in a run's folder.
    """
    entered: set[Path] = set()
    for path, folders, _ in os.walk(root, followlinks=True):
        folder = Path(path).resolve()
        is_run = (folder / _TRACE).is_file()
        if is_run:
            yield folder
        if is_run or folder in entered:
            folders.clear()  # where links lead in a circle, nothing is new
        entered.add(folder)


def _runs_in(folder: Path) -> list[Run]:
    trace = folder / _TRACE
    found = read_events_by_run(trace) if trace.stat().st_size else {}  # empty where a run was stopped at once
    return [Run(folder=folder, run_id=run_id, events=events) for run_id, events in found.items()]
