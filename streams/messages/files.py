"""Reads files with one message per line; errors name the line at fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import BadInput
from streams.files import read_text
from streams.messages.codec import (
    ContractError,
    OtherModel,
    decode_candidate,
    decode_pair,
    decode_snapshot,
    decode_snapshot_of,
    decode_text_pair,
    decode_trace,
)
from streams.messages.contracts import (
    Candidate,
    PairMessage,
    RewardSnapshot,
    TextSnapshot,
    TraceEvent,
    TraceMessage,
)
from streams.messages.refusals import check_names
from streams.messages.revisions import newest_revisions


def read_trace(path: Path) -> list[TraceMessage]:
    """The events of a ``trace.jsonl``, in the file's order. Raises BadInput, also for an empty trace.

    For a rescored run, only the events of its newest complete revision are returned.
    """
    return newest_revisions([message for _, message in read_trace_lines(path)])


def read_events_by_run(path: Path) -> dict[str, tuple[TraceEvent, ...]]:
    """The iterations of every run in a ``trace.jsonl``, in order; of duplicates, the first.

    Otherwise like ``read_trace``. A dump of the topic, or joined files, may contain several runs.
    """
    runs: dict[str, dict[int, TraceEvent]] = {}
    for message in read_trace(path):
        events = runs.setdefault(message.run_id, {})
        if isinstance(message, TraceEvent):
            events.setdefault(message.iter_idx, message)
    return {run_id: tuple(events[i] for i in sorted(events)) for run_id, events in runs.items()}


def read_trace_lines(path: Path) -> list[tuple[bytes, TraceMessage]]:
    """Every event of every revision in a ``trace.jsonl``, with its line. Raises BadInput."""
    return [(line, decode_trace(line, source)) for line, source in _lines(path, "trace")]


def read_pairs(path: Path) -> list[PairMessage]:
    """The pairs of a ``pairs.jsonl``, in the file's order. Raises BadInput, also for an empty file."""
    with _told_of_tables(
        path, f"a table is learnt in Python, with tribrain.learn(pandas.read_csv({str(path)!r}))"
    ):
        return [decode_pair(line, source) for line, source in _lines(path, "pair")]


def read_text_pairs(path: Path) -> list[PairMessage]:
    """Like ``read_pairs``, but a goal and two texts per line are enough. Raises BadInput."""
    made = str(path.with_suffix(".jsonl"))
    with _told_of_tables(
        path,
        "a table with the columns goal_instruction, chosen_prompt and rejected_prompt becomes such a file by "
        f"pandas.read_csv({str(path)!r}).to_json({made!r}, orient='records', lines=True)",
    ):
        return [decode_text_pair(line, source) for line, source in _lines(path, "pair")]


def read_candidates(path: Path) -> list[Candidate]:
    """The candidates of a file, in order. Raises BadInput, also for an empty file or a duplicate
    candidate."""
    candidates: dict[tuple[str, str], Candidate] = {}
    for line, source in _lines(path, "candidate"):
        candidate = decode_candidate(line, source)
        name = candidate.task_id, candidate.candidate_id
        if name in candidates:
            raise BadInput(
                f"{source}: candidate {name[1]!r} of task {name[0]!r} occurs twice; expected each once"
            )
        candidates[name] = candidate
    return list(candidates.values())


def read_snapshot(path: Path) -> RewardSnapshot:
    """A ``bt_reward.json``. Raises BadInput."""
    with reward_in(path, "a bt_reward.json") as raw:
        check_names(raw, path)
        return decode_snapshot(raw, str(path))


def read_reward(path: Path) -> RewardSnapshot | TextSnapshot:
    """A ``bt_reward.json`` or a ``text_reward.json``. Raises BadInput."""
    with reward_in(path, "a bt_reward.json or text_reward.json") as raw:
        check_names(raw, path)
        try:
            return decode_snapshot(raw, str(path))
        except OtherModel:
            return decode_snapshot_of(TextSnapshot, raw, str(path))


@contextmanager
def reward_in(path: Path, kind: str) -> Iterator[bytes]:
    """The content of a file that should hold a reward; ``kind`` names which, e.g. ``a bt_reward.json``.

    If it holds something else, the ContractError states what to give. Raises BadInput for a folder.
    """
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; give {kind}")
    raw = read_text(path)
    try:
        yield raw
    except ContractError as error:
        if any(reward.SCHEMA.encode() in raw for reward in (RewardSnapshot, TextSnapshot)):
            raise
        raise ContractError(f"{error}; give {kind}, as tribrain reward train writes it") from None


@contextmanager
def _told_of_tables(path: Path, remedy: str) -> Iterator[None]:
    """Add ``remedy``, what to do with a table, to the error for a CSV file."""
    try:
        yield
    except ContractError as error:
        if path.suffix.lower() != ".csv":
            raise
        raise BadInput(
            f"{error}; pairs are read as JSON Lines, and {remedy}: docs/how-to/tables.md"
        ) from None


def trace_line(line: bytes, source: object) -> TraceMessage:
    """One line of a ``trace.jsonl``. Raises ContractError."""
    check_names(line, source)
    return decode_trace(line, source)


def _lines(path: Path, kind: str) -> Iterator[tuple[bytes, str]]:
    empty = True
    for number, line in enumerate(read_text(path).split(b"\n"), start=1):
        if line.strip():
            empty = False
            source = f"{path}@line {number}"
            check_names(line, source)
            yield line, source
    if empty:
        raise BadInput(f"{path}: the file is empty; expected one {kind} per line")
