"""The folder of a suite: its plan, a folder for each run, and the results of the finished ones.

Files are whole or absent, and an unfinished run is one that has a folder and no ``result.json``. So whatever
ends a suite, the same command continues where it was, in one process or in several at a time.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import orjson

from runner.critics.opinion import is_missing
from runner.loop.result import RunResult, run_result
from runner.loop.stopping import MAX_FAILURES
from runner.loop.suite import SuiteTask
from streams.errors import BadInput, counted
from streams.messages.contracts import TraceEvent
from streams.messages.files import read_trace
from tribrain.run.plan import differences
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.output import write_output

_T = TypeVar("_T")

_SCHEMA = "tribrain.suite/1"
_PLAN, _RUNS, _RESULT, _LOCK = "suite.json", "runs", "result.json", "run.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePlan:
    """``suite.json``: the work to do. A run is the same only with the same settings."""

    suite: str
    """Its name, with which the id of each run begins."""
    prompts: str
    prompts_sha256: str
    n_tasks: int
    world: str
    settings: dict[str, Any]
    contents: dict[str, str] = field(default_factory=dict)
    """Index to a hash of the prompt, a space and its first words; empty in suites of earlier versions."""
    schema: str = _SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """``result.json``: a summary of a finished run."""

    index: int
    run_id: str
    prompt: str
    original_lang: str
    image: str
    iterations: int
    candidates: int
    failed: int
    """Number of candidates that could not be judged."""
    best_iter: int | None
    first_score: float | None
    """Critics' score of the first candidate, the result without refinement."""
    best_score: float | None
    best_video: str | None
    """Path relative to the suite's folder."""
    scores: tuple[float | None, ...]
    """Critics' score of the best so far, after each candidate."""
    missing: dict[str, int]
    """Critic to the number of videos that it did not score because it failed or was too slow."""
    versions: tuple[tuple[int, int | None], ...]
    stop_reason: str
    failure: str
    """The last error, if nothing could be judged, a critic failed on every video, or the run was given up;
    else empty."""

    @property
    def is_given_up(self) -> bool:
        """Whether the run is unfinished though it has an end: the suite continues it, if it can."""
        return bool(self.failure) or self.stop_reason in ("", MAX_FAILURES)


@dataclass(frozen=True, slots=True)
class SuiteFolder:
    """A suite's folder. Raises BadInput for whatever cannot be read or written."""

    path: Path

    @classmethod
    def is_one(cls, path: Path) -> bool:
        return (path / _PLAN).is_file()

    def begin(self, plan: SuitePlan) -> SuitePlan:
        """Start or continue; gives the plan in use. Raises BadInput for a folder of another suite."""
        if (found := self.begun(plan)) is not None:
            return found
        write_output(self.path / _PLAN, orjson.dumps(plan, option=orjson.OPT_INDENT_2))
        return plan

    def begun(self, plan: SuitePlan) -> SuitePlan | None:
        """The plan of the suite in the folder, if any.

        Raises BadInput if the folder holds another suite, or files that are not of a suite.
        """
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path}: is a file; choose another --out")
        # Listed before the plan is looked for, as other shards write the plan before anything else.
        foreign = [path for path in self.path.glob("*") if not path.name.startswith(".")]
        if self.is_one(self.path):
            found = self.plan()
            if differences := _differences(found, plan):
                raise BadInput(
                    f"{self.path}: holds a suite with {'; '.join(differences)}; go on with the options and "
                    "files that it was begun with, or choose another --out"
                )
            return found
        if foreign:
            raise BadInput(f"{self.path}: holds files that are not of a suite; choose another --out")
        return None

    def plan(self) -> SuitePlan:
        path = self.path / _PLAN
        plan = _read(path, SuitePlan)
        if plan.schema != _SCHEMA:
            raise BadInput(f"{path}: schema is {plan.schema!r}; this version reads {_SCHEMA!r}")
        return plan

    def run_dir(self, run_id: str) -> Path:
        return self.path / _RUNS / run_id

    @contextmanager
    def held(self, run_id: str) -> Iterator[Path]:
        """The folder of a run, locked against other processes; the kernel releases the lock."""
        folder = self.run_dir(run_id)
        taken = "another suite run is at work on it; wait for it, or give each its own --shard"
        with exclusive_lock(folder, "--out", taken, name=_LOCK):
            yield folder

    def finish(self, task: SuiteTask, result: RunResult) -> SuiteRun:
        """Write the result of a run whose trace has its end."""
        folder = self.run_dir(result.run_id)
        run = SuiteRun(
            index=task.index,
            run_id=result.run_id,
            prompt=task.prompt,
            original_lang=task.original_lang,
            image=str(task.image or ""),
            iterations=result.iterations,
            candidates=result.candidates,
            versions=result.versions,
            stop_reason=result.stop_reason,
            **_judged(result, _events_in(folder)),
        )
        write_output(folder / _RESULT, orjson.dumps(run, option=orjson.OPT_INDENT_2))
        return run

    def finished(self, run_id: str) -> SuiteRun | None:
        """The result of a run, in its newest revision if it was rescored; None if it has none."""
        path = self.run_dir(run_id) / _RESULT
        return _as_judged_now(_read(path, SuiteRun), path.parent) if path.is_file() else None

    def was_held_back(self, run_id: str) -> bool:
        """Whether Kafka did not get all of a run because of how it ended, whatever was rescored since."""
        path = self.run_dir(run_id) / _RESULT
        return path.is_file() and _read(path, SuiteRun).is_given_up

    def all_finished(self) -> list[SuiteRun]:
        """The finished runs, sorted by index."""
        paths = (self.path / _RUNS).glob(f"*/{_RESULT}")
        runs = (_as_judged_now(_read(path, SuiteRun), path.parent) for path in paths)
        return sorted(runs, key=lambda run: run.index)


def contents_of_task(task: SuiteTask) -> str:
    """A digest of the prompt and its language, and the shortened prompt, for ``SuitePlan.contents``."""
    digest = hashlib.blake2b(f"{task.prompt}\0{task.original_lang}".encode(), digest_size=8).hexdigest()
    return f"{digest} {textwrap.shorten(task.prompt, 60, placeholder=' …')}"


def _as_judged_now(run: SuiteRun, folder: Path) -> SuiteRun:
    events = _events_in(folder)
    if not any(event.revision for event in events):
        return run
    return replace(run, **_judged(run_result(run.run_id, events, run.stop_reason), events))


def _events_in(folder: Path) -> list[TraceEvent]:
    trace = folder / "trace.jsonl"
    # A run that was stopped before its first iteration leaves an empty trace.
    messages = read_trace(trace) if trace.is_file() and trace.stat().st_size else []
    return [message for message in messages if isinstance(message, TraceEvent)]


def _judged(result: RunResult, events: list[TraceEvent]) -> dict[str, Any]:
    """The fields of a SuiteRun that follow from the critics' scores."""
    best = next((event for event in events if event.iter_idx == result.best_iter), None)
    return {
        "failed": sum(event.overall_score is None for event in events),
        "best_iter": result.best_iter,
        "first_score": events[0].meta.get("critic_reward") if events else None,
        "best_score": result.best_score,
        "best_video": f"{_RUNS}/{result.run_id}/{best.artifact_path}" if best is not None else None,
        "scores": tuple(event.meta.get("best_score") for event in events),
        "missing": _missing(events),
        "failure": result.failure,
    }


def _missing(events: list[TraceEvent]) -> dict[str, int]:
    names = [r.critic_name for event in events for r in event.critic_results if is_missing(r)]
    return {name: names.count(name) for name in sorted(set(names))}


def _differences(found: SuitePlan, given: SuitePlan) -> list[str]:
    named = {"name": "suite", "world": "world"}
    was, now = ({what: getattr(plan, name) for what, name in named.items()} for plan in (found, given))
    others = differences(was | found.settings, now | given.settings)
    if found.prompts_sha256 == given.prompts_sha256:
        return others
    return [_other_prompts(found.contents, given.contents), *others]


def _other_prompts(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The first prompt that is changed, new or gone, in words, with the number of others."""
    if not was:
        return "other prompts"
    others = [index for index in {**was, **now} if was.get(index) != now.get(index)]
    if not others:
        return "the same prompts in another order, with other images or written in another way"
    index, more = others[0], len(others) - 1
    before, after = (_words(contents.get(index)) for contents in (was, now))
    and_others = f" and {counted(more, 'other prompt')}" if more else ""
    return f"index {index} {before} rather than {after}{and_others}"


def _words(contents: str | None) -> str:
    return "no prompt" if contents is None else repr(contents.partition(" ")[2])


def _read(path: Path, contract: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=contract)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: the file is damaged: {error}; choose another --out") from None
