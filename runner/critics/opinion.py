"""An external critic's judgement of a video, read from what it printed or returned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from streams.messages.checks import check_free
from streams.messages.contracts import CriticResult
from streams.messages.limits import MAX_DEPTH
from streams.messages.no_score import NO_SCORE, REASONS, NoScore, no_score
from streams.messages.refusals import ContractError, each_once

_MOST_SCORES = 100
_MOST_NAME_CHARACTERS = 100
_MOST_NOTES_CHARACTERS = 1000
_MOST_EXTRA_BYTES = 4000
_TAIL_CHARACTERS = 400
_ROUNDING = 1e-6
"""Tolerance around [0, 1], for rounding in 32-bit sums."""
_BEGINNING = re.compile(
    r"""
    ^[ \t]*(?P<line>(?:\[\s*){0,3}\{(?![^{}\n"':,=]*\}))      # starts a line; ``{model}`` is not data
    | (?P<within>(?:\[\s*){0,3}\{(?=\s*(?:["'}]|\w+\s*:)))   # within a line, before an entry
    """,
    re.VERBOSE | re.MULTILINE,
)
"""The start of an object or of a list of objects, even of invalid JSON."""
_REST_OF_LINE = re.compile(r"[ \t]*(?:\n\s*|\Z)")
_ANSI_CODE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_PART = re.compile(r"""(?<!\w)"(?:[^"\\]|\\.)*"|(?<!\w)'(?:[^'\\]|\\.)*'|[{}\[\]]""", re.DOTALL)
"""A token of text that is not valid JSON: a string or a bracket."""
_BRACKET = re.compile(r"[{}\[\]]")
_SHOWN_CHARACTERS = 60
_UNREADABLE = re.compile("[\ufffd\ud800-\udfff]")
"""Replacements of bytes that were not UTF-8, and lone surrogates: with them, two names could become one."""


class Unusable(Exception):
    """The critic's output cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """Scores by failure mode, null where the critic gave none, and the critic's other fields."""

    scores: dict[str, float | None]
    notes: str
    extra: dict[str, Any]
    flaw: str = ""
    """Why some of the nulls are no scores; the critic has then failed in part."""

    def result(self, critic: str, output: str = "") -> CriticResult:
        """The critic's result; the end of ``output``, which it printed, is kept if there is a flaw."""
        extra = self.extra | (_failed(self.flaw, output) if self.flaw else {})
        return CriticResult(critic_name=critic, scores=self.scores, notes=self.notes, extra=extra)


def missing(critic: str, why: str, output: str = "") -> CriticResult:
    """The result of a critic that failed on a candidate: no scores, the reason, and the end of its output."""
    return CriticResult(
        critic_name=critic, scores={}, notes=f"missing: {_plain(why)}", extra=_failed(why, output)
    )


def _failed(why: str, output: str) -> dict[str, str]:
    text = _plain(" ".join(output.split()))
    cut = "…" if len(text) > _TAIL_CHARACTERS else ""
    return {NO_SCORE: "failed", "missing": _plain(why), "output": cut + text[-_TAIL_CHARACTERS:]}


def is_missing(result: CriticResult) -> bool:
    """Whether the critic failed, rather than judged."""
    return no_score(result) == "failed" and all(score is None for score in result.scores.values())


def last_opinion(output: str, *, is_cut: bool = False) -> Opinion:
    """The last JSON object that a critic printed, on lines of its own. Raises Unusable.

    Other lines may precede and follow it. An object inside something else does not count. If the last text
    that looks like an object cannot be parsed or shares a line, there is no opinion; nor if the last object
    may be a line of a log: it has text, and an earlier one has scores, all of other names. ``is_cut``
    means that the beginning of the output is missing.
    """
    last: dict[str, Any] | None = None
    scored: set[frozenset[str]] = set()
    problem, at = "", 0
    output = _ANSI_CODE.sub("", output.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))
    decoder = json.JSONDecoder(object_pairs_hook=each_once)
    while True:
        beginning = _BEGINNING.search(output, at)
        begin = beginning.start(beginning.lastgroup or 0) if beginning else len(output)
        if is_cut and _closes_more(output[at:begin]):
            last, problem = None, "it begins before the part of the output that is read"
        if beginning is None:
            break
        try:
            found, end = decoder.raw_decode(output, begin)
        except (ValueError, RecursionError) as error:
            found, end, problem = None, _end_of(output, begin), str(error)
        else:
            problem = (
                _not_alone(output, at, begin, end, is_cut) if isinstance(found, dict) else "it is a list"
            )
        last = None if problem else found
        if problem:
            problem += f", in {output[begin:][:_SHOWN_CHARACTERS]}"
        if last is not None:
            scored.add(_scored(last))
        at = end
    if last is None:
        why = f" that can be read at its end: {_plain(' '.join(problem.split()))}" if problem else ""
        raise Unusable(f"it printed no JSON object{why}")
    texts = [name for name, value in last.items() if _is_text(name, value)]
    others = [names for names in scored if names and names.isdisjoint(_scored(last))]
    if texts and others:
        raise Unusable(
            f"it printed scores ({_names(sorted(others[0]))}), then an object that may be a line of a log, "
            f"with text ({_names(texts)}) and none of them; print the scores last, and logs on standard error"
        )
    return opinion(last)


def _scored(said: Mapping[str, Any]) -> frozenset[str]:
    """The names of an object's numbers; none if one of them is not in [0, 1]."""
    numbers = {name: value for name, value in said.items() if _is_number(value)}
    return frozenset(numbers if all(0 <= value <= 1 for value in numbers.values()) else ())


def _is_text(name: str, value: object) -> bool:
    """Whether a field is text that is neither notes nor a score."""
    return isinstance(value, str) and name not in ("notes", NO_SCORE) and not _reads_as_number(value)


def opinion(said: Mapping[str, Any]) -> Opinion:
    """Numbers and nulls are scores, ``notes`` are notes, and all other fields are kept as extras.

    ``no_score`` gives the meaning of a null, see ``streams.messages.no_score``; with it, no null is needed. A
    score outside [0, 1] by a rounding error is clipped. Text that reads as a number, such as "0.5" or "NaN",
    is a score that failed. Raises Unusable if there is no score, if the name of one appears twice or is not
    Unicode, if the critic reports that it failed, or if a score is not in [0, 1]: a critic that uses another
    scale in one mode cannot be trusted in the others.
    """
    scores: dict[str, float | None] = {}
    extra: dict[str, Any] = {}
    flaw = ""
    notes = said["notes"] if isinstance(said.get("notes"), str) else ""
    notes = _plain(notes)[:_MOST_NOTES_CHARACTERS]
    for name, value in said.items():
        if name == NO_SCORE or (name == "notes" and isinstance(value, str)):
            continue
        is_quoted = isinstance(value, str) and _reads_as_number(value)
        if value is None or is_quoted or _is_number(value):
            if (mode := _mode(name)) in scores:
                raise Unusable(f"{mode} appears twice; expected one score for each failure mode")
            scores[mode] = None if is_quoted else _score(name, value)
        else:
            extra[name] = value
        if is_quoted and not flaw:
            flaw = (
                f"{mode} is the text {_plain(repr(value))[:_SHOWN_CHARACTERS]}; expected a number in [0, 1]"
            )
    known = any(score is not None for score in scores.values())
    reason = _reason(said.get(NO_SCORE), scores)
    if flaw and (not known or reason not in (None, "failed")):
        raise Unusable(flaw)  # beside another reason, it would be unclear which nulls are meant
    if reason == "failed" and not known:
        raise Unusable(f"it says that it failed: {notes}" if notes else "it says that it failed")
    if not scores and reason is None:
        raise Unusable(f"there is no score in the JSON object that it gave; it has {_names(extra)}")
    if len(scores) > _MOST_SCORES:
        raise Unusable(f"it gave {len(scores)} scores; at most {_MOST_SCORES} are taken")
    return Opinion(scores, notes, _kept(extra) | ({NO_SCORE: reason} if reason is not None else {}), flaw)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reads_as_number(text: str) -> bool:
    """Whether ``float`` reads it, as it does "0.5", " 1e-3" and "nan"; "2026_11" is no number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _reason(said: object, scores: Mapping[str, float | None]) -> NoScore | None:
    if said is None:
        return None
    reason = next((each for each in REASONS if each == said), None)
    if reason is None:
        raise Unusable(f"{NO_SCORE} is {_plain(repr(said))[:40]}; expected one of {', '.join(REASONS)}")
    if reason == "not_seen" and None not in scores.values():
        raise Unusable(f"{NO_SCORE} is {reason}; expected a null for each failure mode that it is about")
    if scores and None not in scores.values():
        raise Unusable(f"{NO_SCORE} is {reason}, but no score is null")
    return reason


def _not_alone(output: str, at: int, begin: int, end: int, is_cut: bool) -> str:
    """Why an object is part of something else; empty if it stands on lines of its own.

    ``at`` is the end of the text before it that is already parsed.
    """
    before = output[at:begin]
    indent = before[before.rfind("\n") + 1 :]
    begins_line = "\n" in before or (at == 0 and not is_cut)
    rest = _REST_OF_LINE.match(output, end)
    if indent.strip() or not begins_line or rest is None:
        return "it shares a line with something else; expected a JSON object on lines of its own"
    last = before.rstrip()[-1:]
    follows = output[rest.end() : rest.end() + 1]
    if (last and last in "{[(,=") or (indent and last == ":") or (follows and follows in "}]),:"):
        return "it is part of text that is not JSON"
    return ""


def _end_of(output: str, begin: int) -> int:
    """Index behind the bracket that closes the one at ``begin``, else the end of the output."""
    depth = 0
    for part in _PART.finditer(output, begin):
        depth += (part[0] in "{[") - (part[0] in "}]")
        if depth == 0:
            return part.end()
    return len(output)


def _closes_more(between: str) -> bool:
    """Whether the text closes a bracket that it did not open."""
    depth = 0
    for bracket in _BRACKET.findall(between):
        depth += 1 if bracket in "{[" else -1
        if depth < 0:
            return True
    return False


def _mode(name: str) -> str:
    if not name or len(name) > _MOST_NAME_CHARACTERS:
        raise Unusable(
            f"a score is called {_plain(name)[:_MOST_NAME_CHARACTERS]!r}; expected a failure mode such as "
            f"task or physics, in at most {_MOST_NAME_CHARACTERS} characters"
        )
    if _UNREADABLE.search(name):
        raise Unusable(f"a score is called {_plain(name)!r}, which is not UTF-8; expected a name that is")
    return name


def _score(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if not -_ROUNDING <= value <= 1 + _ROUNDING:  # nor is NaN
        shown = "huge" if isinstance(value, int) and abs(value) > 10**15 else repr(value)
        raise Unusable(f"{_plain(name)} is {shown}; expected a score in [0, 1]")
    return min(max(float(value), 0.0), 1.0)


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(_plain(name)[:40]) for name in islice(names, 5)) or "nothing"


def _kept(extra: dict[str, Any]) -> dict[str, Any]:
    """The extras that can be recorded; drops what is too long for a trace or is not JSON to other readers."""
    try:
        raw = orjson.dumps(extra)
    except orjson.JSONEncodeError:
        return {"left_out": "cannot be written as JSON"}
    try:
        check_free(extra, "extra")
    except ContractError:
        return {"left_out": f"more than {MAX_DEPTH} levels of objects and lists"}
    if len(raw) > _MOST_EXTRA_BYTES:
        return {"left_out": f"{len(raw)} bytes; at most {_MOST_EXTRA_BYTES} are kept"}
    kept: dict[str, Any] = orjson.loads(raw)
    return kept


def _plain(text: str) -> str:
    """The text as valid Unicode, because JSON can hold a lone surrogate."""
    return text.encode(errors="replace").decode()
