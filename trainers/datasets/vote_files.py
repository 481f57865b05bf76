"""Votes in files: as CSV and JSON Lines, and as Label Studio exports them from ``labelling`` tasks.

Reading gives statements, each with its place in the file. Unusable entries are kept separately, each with the
reason.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import orjson

from streams.errors import BadInput, counted
from streams.messages.candidates import Place
from streams.messages.codec import ContractError, decode_vote, encode
from streams.messages.refusals import check_names, not_allowed, shown
from streams.messages.votes import Answer, Vote

Places = Callable[[str, str], Sequence[Place]]
"""The candidates that a video may be, by the id from an export and the run that the task names."""

_REQUIRED = ("left_run_id", "left_iter_idx", "right_run_id", "right_iter_idx", "answer")
_NUMBERS = ("left_iter_idx", "right_iter_idx", "plays_left", "plays_right", "response_time_s", "probability")
COLUMNS = tuple(name for name in Vote.__struct_fields__ if name not in ("schema", "extras"))
"""Columns of a CSV file. All but ``_REQUIRED`` are optional, and unknown ones go into ``meta``."""
_ANSWERS: tuple[Answer, ...] = get_args(Answer)
_UNNAMED = "to-be-named"
_CHOICES = {"A": "left", "B": "right", "no difference": "tie"}
_SELECTED = {"left": "left", "right": "right"}


@dataclass(frozen=True, slots=True)
class Statement:
    """A file's vote, still without an id if the file has none."""

    vote: Vote
    key: str
    """Identifies the statement: who made it, where, and about what. Empty for a vote that has its own id."""
    place: str


@dataclass(frozen=True, slots=True)
class UnusableEntry:
    place: str
    reason: str
    original: Any
    """The entry in the file, so that it can be imported once the problem is fixed."""


@dataclass(slots=True)
class VoteFile:
    """The contents of a file of votes."""

    statements: list[Statement] = field(default_factory=list)
    unusable: list[UnusableEntry] = field(default_factory=list)
    skipped: int = 0
    """Annotations that their author cancelled."""


def read_csv(content: bytes, source: str) -> VoteFile:
    """The votes of a CSV file. Raises BadInput if it lacks required columns."""
    try:
        rows = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
        columns = rows.fieldnames or []
        if missing := [name for name in _REQUIRED if name not in columns]:
            raise BadInput(
                f"{source}: the first line lacks the columns {', '.join(missing)}; it has "
                f"{', '.join(columns) or 'none'}"
            )
        if repeated := [name for name, n in Counter(columns).items() if n > 1]:
            raise BadInput(f"{source}: the first line has {repeated[0]!r} twice; expected each column once")
        found = VoteFile()
        for row in rows:
            place = f"{source}@line {rows.line_num}"
            if None in row or None in row.values():
                found.unusable.append(
                    UnusableEntry(place, "has another number of cells than the first line", row)
                )
            else:
                _take(found, place, row, partial(_of_row, row, place))
        return found
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{source}: is not CSV in UTF-8: {error}") from None


def read_json_lines(content: bytes, source: str) -> VoteFile:
    """One vote per line, with or without an id."""
    found = VoteFile()
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            place = f"{source}@line {number}"
            _take(found, place, line.decode(errors="replace"), partial(_of_line, line, place))
    return found


def read_label_studio(content: bytes, source: str, places: Places) -> VoteFile:
    """Label Studio's JSON export of tasks with their annotations. Raises BadInput for anything else."""
    check_names(content, source)
    try:
        tasks = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"{source}: is not JSON: {error}; export the project as JSON") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise BadInput(f"{source}: expected a list of tasks; export the project as JSON")
    if tasks and not any(isinstance(task.get("annotations"), list) for task in tasks):
        raise BadInput(
            f"{source}: found {counted(len(tasks), 'task')}, none with annotations; export the project as "
            "JSON (not JSON-MIN)"
        )
    found = VoteFile()
    for task in tasks:
        annotations = task.get("annotations")
        for annotation in annotations if isinstance(annotations, list) else []:
            if not isinstance(annotation, dict):
                continue
            if annotation.get("was_cancelled"):
                found.skipped += 1
                continue
            place = f"{source}: task {task.get('id')}, annotation {annotation.get('id')}"
            alone = {**task, "annotations": [annotation]}
            _take(found, place, alone, partial(_of_annotation, task, annotation, places))
    return found


def as_json_lines(votes: Iterable[Vote]) -> bytes:
    return b"".join(encode(vote) + b"\n" for vote in votes)


def as_csv(votes: Iterable[Vote]) -> bytes:
    """The columns of ``COLUMNS``; ``meta`` is a JSON object, and null an empty cell."""
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    for vote in votes:
        values = (getattr(vote, name) for name in COLUMNS)
        rows.writerow(
            ["" if v is None else orjson.dumps(v).decode() if isinstance(v, dict) else v for v in values]
        )
    return out.getvalue().encode(errors="surrogatepass")


def unusable_as_csv(unusable: Iterable[UnusableEntry]) -> bytes:
    """The rows unchanged, so that the file can be imported later."""
    rows = [{str(k or "more"): v for k, v in each.original.items()} for each in unusable]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(errors="surrogatepass")


def row_key(vote: Vote, sides: Sequence[Place]) -> str:
    """``Statement.key`` of a row: who made it, about which two candidates, and when."""
    one, other = sides
    return "\0".join(map(str, ("row", vote.annotator, *one, *other, vote.dimension, vote.voted_at)))


def _take(found: VoteFile, place: str, original: Any, statement: Callable[[], tuple[Vote, str]]) -> None:
    try:
        vote, key = statement()
    except BadInput as error:
        found.unusable.append(UnusableEntry(place, str(error).removeprefix(f"{place}: "), original))
    else:
        found.statements.append(Statement(vote, key, place))


def _of_row(row: Mapping[str, str], place: str) -> tuple[Vote, str]:
    said: dict[str, Any] = {name: value for name, value in row.items() if name in COLUMNS and value != ""}
    for name in _NUMBERS:
        if name in said:
            said[name] = _number(name, said[name])
    meta: dict[str, Any] = {name: value for name, value in row.items() if name not in COLUMNS and value}
    if "meta" in said:
        check_names(said["meta"].encode(), "meta")
        try:
            given = orjson.loads(said["meta"])
        except orjson.JSONDecodeError as error:
            raise BadInput(f"meta: is not a JSON object: {error}") from None
        if not isinstance(given, dict):
            raise BadInput(f"meta: expected a JSON object, found {shown(given)}")
        meta = given | meta
    said["meta"] = meta
    said.setdefault("answer", None)
    return _vote(said, place)


def _of_line(line: bytes, place: str) -> tuple[Vote, str]:
    check_names(line, place)
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadInput(f"expected a JSON object, found {type(said).__name__}")
    return _vote(said, place)


def _vote(said: dict[str, Any], place: str) -> tuple[Vote, str]:
    """A vote with its own id unchanged; any other identified by who made it, about what, and when.

    Whichever side a named person saw a candidate on, it is one statement.
    """
    answer = said.get("answer")
    if isinstance(answer, str) and answer not in _ANSWERS:  # the contract's own list has null, too
        raise BadInput(f"answer: {not_allowed(answer, _ANSWERS)}")
    named = said.get("vote_id") not in (None, "")
    vote = _checked(said if named else {**said, "vote_id": _UNNAMED}, place)
    if named:
        return vote, ""
    return vote, row_key(vote, sorted((vote.left, vote.right)) if vote.annotator else (vote.left, vote.right))


def _of_annotation(
    task: Mapping[str, Any], annotation: Mapping[str, Any], places: Places
) -> tuple[Vote, str]:
    data = task.get("data")
    if not isinstance(data, dict):
        raise BadInput("the task has no data; import tasks that tribrain pairs share wrote")
    answer = _answer(annotation)
    left, right = (_candidate(data, side, places) for side in ("a", "b"))
    annotator = _person(annotation.get("completed_by"))
    lead_time: Any = annotation.get("lead_time")
    said = {
        "vote_id": _UNNAMED,
        "left_run_id": left[0],
        "left_iter_idx": left[1],
        "right_run_id": right[0],
        "right_iter_idx": right[1],
        "answer": answer,
        "annotator": annotator,
        "voted_at": str(annotation.get("created_at") or ""),
        "response_time_s": lead_time if type(lead_time) in (int, float) and lead_time >= 0 else None,
        "page": "label-studio",
        "meta": {"annotation": str(annotation.get("id", "")), "task": str(task.get("id", ""))},
    }
    key = ("label-studio", annotation.get("id", ""), annotator, *left, *right)
    return _checked(said, ""), "\0".join(map(str, key))


def _answer(annotation: Mapping[str, Any]) -> str:
    """The vote's answer, from a choice among A, B and none or from a pairwise comparison. Raises BadInput."""
    results = annotation.get("result")
    for result in results if isinstance(results, list) else []:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue
        choices = value.get("choices")
        if isinstance(choices, list):
            if len(choices) == 1 and choices[0] in _CHOICES:
                return _CHOICES[choices[0]]
            raise BadInput(f"the choice is {choices!r}; expected one of {', '.join(_CHOICES)}")
        if "selected" in value:
            if value["selected"] in _SELECTED:
                return _SELECTED[value["selected"]]
            raise BadInput(f"the selected side is {value['selected']!r}; expected left or right")
    raise BadInput("nothing was chosen; expected a choice of A, B or no difference")


def _candidate(data: Mapping[str, Any], side: str, places: Places) -> Place:
    run_id, iter_idx = data.get(f"{side}_run_id"), data.get(f"{side}_iter_idx")
    if isinstance(run_id, str) and run_id and type(iter_idx) is int:
        return run_id, iter_idx
    video = data.get(side)
    if not isinstance(video, str) or not video:
        raise BadInput(f"the task names no video {side}; import tasks that tribrain pairs share wrote")
    found = places(video, str(data.get("run_id") or ""))
    if not found:
        raise BadInput(
            f"video {video!r} belongs to no known run; give --runs with the folders that it was exported from"
        )
    if len(found) > 1:
        named = ", ".join(f"iteration {i} of {run!r}" for run, i in found[:3])
        raise BadInput(f"video {video!r} matches {len(found)} candidates ({named}), so it is ambiguous")
    return found[0]


def _person(completed_by: Any) -> str:
    """An id, or whatever is known about the user."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return "" if completed_by is None else str(completed_by)


def _checked(said: Mapping[str, Any], place: str) -> Vote:
    try:
        return decode_vote(orjson.dumps({"schema": Vote.SCHEMA, **said}), place or "the annotation")
    except orjson.JSONEncodeError as error:
        raise ContractError(f"{place}: {error}") from None


def _number(name: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{name}: expected a number, found {text!r}") from None
