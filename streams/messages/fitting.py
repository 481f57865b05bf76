"""Fits what world models and critics give into a trace.

The rest is left out and reported, so that nothing else is lost: a video may have taken minutes to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from streams.messages.checks import check_finite, check_free
from streams.messages.codec import encode
from streams.messages.contracts import TEXT_CRITICS, CriticResult, TraceEvent
from streams.messages.fields import Context
from streams.messages.limits import MAX_CONTEXT_ENTRIES, MAX_SCORES
from streams.messages.refusals import ContractError, shown

MAX_CONTEXT_BYTES = 64 << 10
"""Limit of all entries of a candidate's context together, as JSON: a record has to hold much else."""
_MOST_ENTRIES = MAX_CONTEXT_ENTRIES - 1
"""Most entries of a candidate's context; the loop adds one more, the arm."""
_QUOTES = "'\""
_MOST_SCORES = MAX_SCORES - len(TEXT_CRITICS)
"""Most scores of the critics of videos; rewards of texts come after them, with one score each."""


def fitting_context(context: Mapping[Any, Any]) -> tuple[dict[str, Any], str]:
    """The entries of a candidate's context that fit, in their order, and a text on those that do not.

    The text begins with the name of the first entry that is left out; it is empty if all fit.
    """
    kept: dict[str, Any] = {}
    left_out, first, size = 0, "", 0
    for name, value in context.items():
        why, n_bytes = _misfit(name, value)
        if not why and len(kept) == _MOST_ENTRIES:
            why = f"there are {len(context):,} entries; at most {_MOST_ENTRIES} are kept"
        if not why and size + n_bytes > MAX_CONTEXT_BYTES:
            why = f"the entries are too long; at most {MAX_CONTEXT_BYTES:,} bytes are kept"
        if why:
            left_out += 1
            first = first or f"{shown(name).strip(_QUOTES)}: {why}"
        else:
            kept[name] = value
            size += n_bytes
    others = f", and {left_out - 1:,} more" if left_out > 1 else ""
    return kept, f"{first}; left out{others}" if left_out else ""


def _misfit(name: Any, value: Any) -> tuple[str, int]:
    """Why an entry cannot be in a context, empty if it can, and its size in bytes of JSON."""
    if not isinstance(name, str):
        return "its name is no text", 0
    try:
        check_free({"candidate_context": {name: value}}, "it")
        check_finite(value, "its value")
        raw = orjson.dumps({name: value}, option=orjson.OPT_SERIALIZE_NUMPY)
        msgspec.json.decode(raw, type=Context)
    except ContractError as error:
        # The path would be as long as the entry is deep.
        return f"expected {str(error).partition('expected ')[2] or 'finite numbers'}", 0
    except msgspec.ValidationError as error:
        return str(error).partition(" - at")[0], 0
    except (RecursionError, TypeError, ValueError) as error:  # of orjson: no JSON, or no Unicode
        return f"cannot be written as JSON ({error})", 0
    return "", len(raw)


def misfits(results: Sequence[CriticResult], others: Sequence[CriticResult] = ()) -> dict[str, str]:
    """Critics whose results a trace cannot hold in addition to earlier ones and ``others``, with the reason.

    Rewards of texts always have room. A result replaces what ``others`` has of the same critic.
    """
    held = {result.critic_name: result for result in others}
    found: dict[str, str] = {}
    for result in results:
        with_it = held | {result.critic_name: result}
        n_scores = sum(len(one.scores) for name, one in with_it.items() if name not in TEXT_CRITICS)
        try:
            if n_scores > _MOST_SCORES:
                raise ContractError(f"all critics gave {n_scores} scores; at most {_MOST_SCORES} are taken")
            encode(_holding({}, *with_it.values()))
        except ContractError as error:
            found[result.critic_name] = _in_short(error)
        else:
            held = with_it
    return found


def misfit(meta: Mapping[str, Any]) -> str:
    """Why a trace cannot hold these entries of an event's ``meta``; empty if it can."""
    try:
        encode(_holding(meta))
    except ContractError as error:
        return _in_short(error)
    return ""


def _holding(meta: Mapping[str, Any], *results: CriticResult) -> TraceEvent:
    return TraceEvent(
        iter_idx=0,
        prompt="",
        artifact_path="",
        critic_results=results,
        overall_score=None,
        meta={"run_id": "any", "error": "none", **meta},
    )


def _in_short(error: ContractError) -> str:
    return str(error).removeprefix(TraceEvent.SCHEMA).lstrip(".: ")
