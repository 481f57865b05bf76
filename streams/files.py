"""Files that are whole or absent, and readers that name the line at fault."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from streams.codec import (
    OtherModel,
    decode_candidate,
    decode_pair,
    decode_snapshot,
    decode_snapshot_of,
    decode_text_pair,
    decode_trace,
)
from streams.contracts import (
    Candidate,
    PairMessage,
    RewardSnapshot,
    RunClosed,
    RunEnd,
    TextSnapshot,
    TraceEvent,
)
from streams.errors import BadInput


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside, fsync, rename: a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def read_trace(path: Path) -> list[TraceEvent | RunEnd]:
    """The events of a ``trace.jsonl`` in the order of the file. Raises BadInput; an empty trace is one.

    Lines that a pair former wrote (the file may be a dump of the topic) are left out.
    """
    messages = (decode_trace(line, source) for line, source in _lines(path, "trace"))
    return [message for message in messages if not isinstance(message, RunClosed)]


def missing_ends(messages: Iterable[TraceEvent | RunEnd]) -> list[RunEnd]:
    """The ends of the runs that have none, in the order in which the runs begin."""
    events: dict[str, list[TraceEvent]] = {}
    ended = set()
    for message in messages:
        if isinstance(message, RunEnd):
            ended.add(message.run_id)
        else:
            events.setdefault(message.run_id, []).append(message)
    return [
        RunEnd(
            run_id=run_id,
            iterations=tuple(sorted({event.iter_idx for event in of_run})),
            stop_reason=str(of_run[-1].meta.get("stop_reason") or ""),
        )
        for run_id, of_run in events.items()
        if run_id not in ended
    ]


def read_pairs(path: Path) -> list[PairMessage]:
    """The pairs of a ``pairs.jsonl`` in the order of the file. Raises BadInput; no pairs is one."""
    return [decode_pair(line, source) for line, source in _lines(path, "pair")]


def read_text_pairs(path: Path) -> list[PairMessage]:
    """As ``read_pairs``; a goal and two texts a line are enough. Raises BadInput."""
    return [decode_text_pair(line, source) for line, source in _lines(path, "pair")]


def read_candidates(path: Path) -> list[Candidate]:
    """The candidates of a file, in its order. Raises BadInput; none, or one that is there twice, is one."""
    candidates: dict[tuple[str, str], Candidate] = {}
    for line, source in _lines(path, "candidate"):
        candidate = decode_candidate(line, source)
        name = candidate.task_id, candidate.candidate_id
        if name in candidates:
            raise BadInput(
                f"{source}: candidate {name[1]!r} of task {name[0]!r} was there before; expected each once"
            )
        candidates[name] = candidate
    return list(candidates.values())


def read_snapshot(path: Path) -> RewardSnapshot:
    """A ``bt_reward.json``. Raises BadInput."""
    return decode_snapshot(read_bytes(path), str(path))


def read_reward(path: Path) -> RewardSnapshot | TextSnapshot:
    """A ``bt_reward.json`` or a ``text_reward.json``. Raises BadInput."""
    raw = read_bytes(path)
    try:
        return decode_snapshot(raw, str(path))
    except OtherModel:
        return decode_snapshot_of(TextSnapshot, raw, str(path))


def _lines(path: Path, kind: str) -> Iterator[tuple[bytes, str]]:
    empty = True
    for number, line in enumerate(read_bytes(path).split(b"\n"), start=1):
        if line.strip():
            empty = False
            yield line, f"{path}@line {number}"
    if empty:
        raise BadInput(f"{path}: the file is empty; expected one {kind} a line")


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises BadInput."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def inside(folder: Path, relative: str) -> Path | None:
    """The path of what a file of ``folder`` names, links followed; None where it lies outside the folder."""
    try:
        path = (folder / relative).resolve()
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):
        return None


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a new file's own fsync does not."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
