"""What a critic of somebody else's says of a video, read from what it printed or returned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from runner.critics.no_score import NO_SCORE, REASONS, NoScore, no_score
from streams.messages.contracts import TEXT_MODE, CriticResult

_MOST_SCORES = 100
_MOST_NAME_CHARACTERS = 100
_MOST_NOTES_CHARACTERS = 1000
_MOST_EXTRA_BYTES = 4000
_TAIL_CHARACTERS = 400


class Unusable(Exception):
    """A critic gave nothing that can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """Scores by failure mode, null where the critic gave none, and what else it said."""

    scores: dict[str, float | None]
    notes: str
    extra: dict[str, Any]

    def result(self, critic: str) -> CriticResult:
        return CriticResult(critic_name=critic, scores=self.scores, notes=self.notes, extra=self.extra)


def missing(critic: str, why: str, output: str = "") -> CriticResult:
    """A critic that counts as missing for a candidate: no scores, why, and the end of what it printed."""
    text = _plain(" ".join(output.split()))
    cut = "…" if len(text) > _TAIL_CHARACTERS else ""
    return CriticResult(
        critic_name=critic,
        scores={},
        notes=f"missing: {_plain(why)}",
        extra={NO_SCORE: "failed", "missing": _plain(why), "output": cut + text[-_TAIL_CHARACTERS:]},
    )


def is_missing(result: CriticResult) -> bool:
    """Whether a critic failed, rather than judged."""
    return no_score(result) == "failed" and all(score is None for score in result.scores.values())


def last_opinion(output: str) -> Opinion:
    """The last JSON object in what a critic printed, whatever stands around it. Raises Unusable."""
    last: dict[str, Any] | None = None
    decoder, at = json.JSONDecoder(), output.find("{")
    while at >= 0:
        try:
            last, end = decoder.raw_decode(output, at)
        except (ValueError, RecursionError):
            end = at + 1
        at = output.find("{", end)
    if last is None:
        raise Unusable("it printed no JSON object")
    return opinion(last)


def opinion(said: Mapping[str, Any]) -> Opinion:
    """Numbers and nulls are scores, ``notes`` are notes, and anything else is kept beside them.

    ``no_score`` says what a null means, see ``runner.critics.no_score``; a critic that says so needs no null
    beside it. Raises Unusable where there is neither, where the critic says that it failed altogether, or
    where a score is not in [0, 1]: a critic that uses another scale in one mode is not to be trusted in the
    others.
    """
    scores: dict[str, float | None] = {}
    extra: dict[str, Any] = {}
    notes = said["notes"] if isinstance(said.get("notes"), str) else ""
    notes = _plain(notes)[:_MOST_NOTES_CHARACTERS]
    for name, value in said.items():
        if name == NO_SCORE or (name == "notes" and isinstance(value, str)):
            continue
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            scores[_mode(name)] = _score(name, value)
        else:
            extra[name] = value
    known = any(score is not None for score in scores.values())
    reason = _reason(said.get(NO_SCORE), scores)
    if reason == "failed" and not known:
        raise Unusable(f"it says that it failed: {notes}" if notes else "it says that it failed")
    if not scores and reason is None:
        raise Unusable(f"there is no score in the JSON object that it gave; it has {_names(extra)}")
    if len(scores) > _MOST_SCORES:
        raise Unusable(f"it gave {len(scores)} scores; at most {_MOST_SCORES} are taken")
    return Opinion(scores, notes, _kept(extra) | ({NO_SCORE: reason} if reason is not None else {}))


def _reason(said: object, scores: Mapping[str, float | None]) -> NoScore | None:
    if said is None:
        return None
    reason = next((each for each in REASONS if each == said), None)
    if reason is None:
        raise Unusable(f"{NO_SCORE} is {_plain(repr(said))[:40]}; expected one of {', '.join(REASONS)}")
    if scores and None not in scores.values():
        raise Unusable(f"{NO_SCORE} is {reason}, but no score is null")
    return reason


def _mode(name: str) -> str:
    if not name or len(name) > _MOST_NAME_CHARACTERS or name == TEXT_MODE:
        raise Unusable(
            f"a score is called {_plain(name)[:_MOST_NAME_CHARACTERS]!r}; expected a failure mode such as "
            f"task or physics (not {TEXT_MODE!r})"
        )
    return _plain(name)


def _score(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if not 0 <= value <= 1:  # nor is NaN
        shown = "huge" if isinstance(value, int) and abs(value) > 10**15 else f"{value:g}"
        raise Unusable(f"{_plain(name)} is {shown}; expected a score in [0, 1]")
    return float(value)


def _names(extra: Mapping[str, Any]) -> str:
    return ", ".join(repr(_plain(name)[:40]) for name in list(extra)[:5]) or "nothing"


def _kept(extra: dict[str, Any]) -> dict[str, Any]:
    """As it can be recorded; what is too long for a trace, or no JSON for others, is left out."""
    try:
        raw = orjson.dumps(extra)
    except orjson.JSONEncodeError:
        return {"left_out": "cannot be written as JSON"}
    if len(raw) > _MOST_EXTRA_BYTES:
        return {"left_out": f"{len(raw)} bytes; at most {_MOST_EXTRA_BYTES} are kept"}
    kept: dict[str, Any] = orjson.loads(raw)
    return kept


def _plain(text: str) -> str:
    """Valid Unicode: JSON can hold half a character."""
    return text.encode(errors="replace").decode()
