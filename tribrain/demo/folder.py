"""What a demo left in its folder, read back: its summary, its history, and each run as its trace tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import msgspec

from streams.errors import BadInput
from streams.files import inside
from streams.messages.contracts import GateState, TraceEvent
from streams.messages.feature_names import is_critic
from streams.messages.fields import UnitScore
from streams.messages.files import read_snapshot, read_trace
from trainers.bradley_terry.reward import reward_on
from trainers.pairs.critic_rewards import rewards_in_run

_T = TypeVar("_T")

Group = Literal["never", "throughout", "between", "cut short"]
"""When the model steered a run: at no iteration, at every one at which it could, or from somewhere in
between; ``cut short``, whatever it was, for a run that was interrupted or failed."""
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    run_id: str
    goal: str
    iterations: int
    versions: tuple[tuple[int, int | None], ...]
    """(iter_idx, snapshot version) at which another version came into use."""
    best_score: float | None
    best_iter: int | None
    steered_iterations: int
    stop_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSummary:
    """A text reward that was trained beside the runs."""

    version: int
    gate: GateState
    statement: str
    published_s: float
    train_pairs: int
    held_out_pairs: int
    log_loss: dict[str, float]
    """On the tasks kept apart, of the adapter and of what it was compared with."""
    scored: int
    """Prompts of candidates that it scored."""
    first_scored_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRewardSummary:
    base_model: str
    every_pairs: int
    adapters: tuple[AdapterSummary, ...]
    runs_that_swapped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """``summary.json``, as far as the report tells it."""

    events: int
    pairs: int
    pairs_by_label_source: dict[str, int]
    snapshots: int
    first_snapshot_s: float | None
    wall_s: float
    gate: GateState | None
    gate_opened_at_pair: int | None
    runs: tuple[RunSummary, ...]
    weights: dict[str, float]
    log_loss: float | None
    log_loss_critics_mean: float | None
    broker: str
    statement: str
    seed: int
    tasks: int
    parallel: int
    iters: int
    preference_weight: float
    trainer_restarts: int
    interrupted: bool
    text_reward: TextRewardSummary | None = None
    """Of a demo with ``--lora``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """A line of ``history.jsonl``: what the plots need of one published snapshot."""

    gate: GateState
    log_loss: float | None
    log_loss_critics_mean: float | None
    trusted_pairs: int
    evidence: float


@dataclass(frozen=True, slots=True)
class _Truth:
    true_quality: UnitScore


@dataclass(frozen=True, slots=True)
class DemoRun:
    """A run as its trace tells it."""

    summary: RunSummary
    group: Group
    scores: tuple[float | None, ...]
    """After each iteration the critics' score of the best so far, as the loop chose it."""
    qualities: tuple[float | None, ...]
    """And that video's true quality; None where nobody wrote it down."""
    video: Path | None
    """The best video; None where there is none in the run's folder."""

    @property
    def true_quality(self) -> float | None:
        """Of the best in the end."""
        return self.qualities[-1] if self.qualities else None


@dataclass(frozen=True, slots=True)
class Demo:
    summary: Summary
    history: tuple[HistoryLine, ...]
    weights: dict[str, float]
    """Critic to its weight in the overall reward."""
    dimensions: dict[str, dict[str, float]]
    """The same of each dimension that labels judge apart."""
    runs: tuple[DemoRun, ...]


def read_demo(folder: Path) -> Demo:
    """Everything a report is made of.

    Needs ``summary.json``. Whatever else an interrupted demo did not come to write is left out, and a file
    that is damaged raises BadInput.
    """
    summary = read_summary(folder)
    reward = folder / "bt_reward.json"
    snapshot = read_snapshot(reward) if reward.is_file() else None
    return Demo(
        summary,
        _read_history(folder / "history.jsonl"),
        _of_critics(snapshot.weights if snapshot else summary.weights),
        {name: _of_critics(reward_on(snapshot, name).weights) for name in snapshot.dimensions}
        if snapshot
        else {},
        tuple(_read_run(folder / "runs", run) for run in summary.runs),
    )


def read_summary(folder: Path) -> Summary:
    """The ``summary.json`` of a demo's folder. Raises BadInput."""
    path = folder / "summary.json"
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected the folder of a demo (make one: tribrain demo)")
    return _decode(path.read_bytes(), Summary, str(path))


def _read_history(path: Path) -> tuple[HistoryLine, ...]:
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    return tuple(
        _decode(line, HistoryLine, f"{path}@line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _of_critics(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if is_critic(name)}


def _read_run(runs_folder: Path, summary: RunSummary) -> DemoRun:
    name = summary.run_id
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise BadInput(f"summary.json: run_id is {name!r}; expected the name of a folder in {runs_folder}")
    folder = runs_folder / name
    trace = folder / "trace.jsonl"
    # A run that was stopped before its first iteration leaves an empty trace, or none.
    started = trace.is_file() and trace.stat().st_size > 0
    events = [e for e in (read_trace(trace) if started else []) if isinstance(e, TraceEvent)]
    by_index = {event.iter_idx: event for event in events}
    rewards = rewards_in_run(events)
    best_so_far = [by_index.get(_whole_number(event.meta.get("best_iter"))) for event in events]
    truths = {b.iter_idx: true_quality(folder, b.iter_idx) for b in best_so_far if b is not None}
    if any(event.revision for event in events):
        last = events[-1].meta
        summary = replace(summary, best_iter=last.get("best_iter"), best_score=last.get("best_score"))
    best = by_index.get(_whole_number(summary.best_iter))
    return DemoRun(
        summary=summary,
        group=_group(summary.stop_reason, events),
        scores=tuple(rewards.get(b.iter_idx) if b is not None else None for b in best_so_far),
        qualities=tuple(truths[b.iter_idx] if b is not None else None for b in best_so_far),
        video=_file_inside(folder, best.artifact_path) if best is not None else None,
    )


def _group(stop_reason: str, events: Sequence[TraceEvent]) -> Group:
    """The first candidate has nothing to be preferred to, so it cannot be steered; nor can failed ones."""
    judged = [event for event in events if event.overall_score is not None]
    steered = [_confidence(event) > 0 for event in judged[1:]]
    if stop_reason == "interrupted" or stop_reason.startswith("failed"):
        return "cut short"
    if not any(steered):
        return "never"
    return "throughout" if all(steered) else "between"


def _confidence(event: TraceEvent) -> float:
    confidence = event.meta.get("preference_confidence")
    return float(confidence) if isinstance(confidence, int | float) else 0.0


def _whole_number(value: Any) -> int:
    """−1, which is no iteration's index, for anything else: meta is free in form."""
    return value if isinstance(value, int) else -1


def true_quality(run_folder: Path, iter_idx: int) -> float | None:
    """What a person would give the video; None where nobody wrote it down. Raises BadInput."""
    path = run_folder / f"iter_{iter_idx:02d}" / "truth.json"
    return _decode(path.read_bytes(), _Truth, str(path)).true_quality if path.is_file() else None


def _file_inside(folder: Path, relative: str) -> Path | None:
    path = inside(folder, relative)
    return path if path is not None and path.is_file() else None


def _decode(raw: bytes, contract: type[_T], source: str) -> _T:
    try:
        return msgspec.json.decode(raw, type=contract)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{source}: the file is damaged: {error}") from None
