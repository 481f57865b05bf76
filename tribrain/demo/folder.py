"""Reads a demo's folder back: its summary, its history, and each run from its trace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from streams.errors import BadInput
from streams.messages.contracts import GateState, RewardSnapshot
from streams.messages.files import read_snapshot
from tribrain.story.traced_run import TracedRun, read_traced

_T = TypeVar("_T")

SUMMARY, VOTES = "summary.json", "votes.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run's trace may lack, for example where it was stopped before its first iteration."""

    run_id: str
    goal: str


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
    """Log loss on the held-out tasks, of the adapter and of each model that it was compared with."""
    scored: int
    """Number of candidates' prompts that it scored."""
    first_scored_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRewardSummary:
    base_model: str
    every_pairs: int
    adapters: tuple[AdapterSummary, ...]
    runs_that_swapped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterSummary:
    """An annotator of a demo."""

    name: str
    votes: int
    error_rate: float | None
    """Share of votes that a simulated annotator gets wrong; None for a person."""
    compared: int
    """Votes on pairs that others have judged, too."""
    agreed: int
    weight: float | None
    """Weight of a label of this annotator; None while nothing is known."""

    @property
    def is_simulated(self) -> bool:
        return self.error_rate is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleSummary:
    """The annotators of a demo."""

    annotators: tuple[VoterSummary, ...]

    @property
    def simulated(self) -> tuple[VoterSummary, ...]:
        return tuple(voter for voter in self.annotators if voter.is_simulated and voter.votes)

    @property
    def persons(self) -> tuple[VoterSummary, ...]:
        return tuple(voter for voter in self.annotators if not voter.is_simulated and voter.votes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The part of ``summary.json`` that the report shows."""

    events: int
    pairs: int
    pairs_by_label_source: dict[str, int]
    snapshots: int
    first_snapshot_s: float | None
    wall_s: float
    gate_opened_at_pair: int | None
    runs: tuple[RunSummary, ...]
    log_loss: float | None
    log_loss_critics_mean: float | None
    broker: str
    seed: int
    tasks: int
    parallel: int
    iters: int
    preference_weight: float
    trainer_restarts: int
    interrupted: bool
    text_reward: TextRewardSummary | None = None
    """The text reward models of a demo with ``--lora``; None without it."""
    people: PeopleSummary | None = None
    """The annotators of a demo with ``--ui`` or ``--annotators``; None without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnlyPeople:
    people: PeopleSummary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """A line of ``history.jsonl``: what the plots need of one published snapshot."""

    gate: GateState
    log_loss: float | None
    log_loss_critics_mean: float | None
    trusted_pairs: int
    evidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    summary: Summary
    history: tuple[HistoryLine, ...]
    snapshot: RewardSnapshot | None
    """The last snapshot; None where none was published."""
    runs: tuple[TracedRun, ...]
    """Runs in the order of the summary; one that was stopped before its first iteration has no event."""


def read_demo(folder: Path) -> Demo:
    """Everything that a report is made from.

    Needs ``summary.json``. Other files that an interrupted demo has not written are left out. Raises
    BadInput for a damaged file.
    """
    summary = read_summary(folder)
    reward = folder / "bt_reward.json"
    return Demo(
        summary=summary,
        history=_read_history(folder / "history.jsonl"),
        snapshot=read_snapshot(reward) if reward.is_file() else None,
        runs=tuple(_read_run(folder / "runs", run.run_id) for run in summary.runs),
    )


def read_summary(folder: Path) -> Summary:
    """The ``summary.json`` of a demo's folder. Raises BadInput."""
    return _of_summary(folder, Summary)


def read_people(folder: Path) -> PeopleSummary | None:
    """The annotators in ``summary.json``, which may be of another version; None where it has none.

    Raises BadInput.
    """
    return _of_summary(folder, _OnlyPeople).people


def _of_summary(folder: Path, contract: type[_T]) -> _T:
    path = folder / SUMMARY
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected the folder of a demo (make one: tribrain demo)")
    return _decode(path.read_bytes(), contract, str(path))


def _read_history(path: Path) -> tuple[HistoryLine, ...]:
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    return tuple(
        _decode(line, HistoryLine, f"{path}@line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _read_run(runs_folder: Path, name: str) -> TracedRun:
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise BadInput(f"summary.json: run_id is {name!r}; expected the name of a folder in {runs_folder}")
    folder = runs_folder / name
    found = (run for run in read_traced(folder) if run.run_id == name)
    return next(found, TracedRun(run_id=name, folder=folder, events=()))


def _decode(raw: bytes, contract: type[_T], source: str) -> _T:
    try:
        return msgspec.json.decode(raw, type=contract)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{source}: the file is damaged: {error}") from None
