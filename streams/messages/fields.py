"""The types of the contracts' fields, with their bounds, and the base class of all contracts."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from streams.messages.limits import (
    MAX_CONTEXT_ENTRIES,
    MAX_COUNT,
    MAX_ID_CHARS,
    MAX_ITERATIONS,
    MAX_NAME_CHARS,
    MAX_NUMBER,
    MAX_SCORE_NAME_CHARS,
    MAX_SCORES,
)

UnitScore = Annotated[float, Meta(ge=0.0, le=1.0)]
"""A score in [0, 1]; 1 is best."""
Number = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
"""A score in a critic's own unit, or another number about a candidate."""
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Iteration = Annotated[int, Meta(ge=0, lt=MAX_ITERATIONS)]
Iterations = Annotated[tuple[Iteration, ...], Meta(max_length=MAX_ITERATIONS)]
Id = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
RunId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
Scores = Annotated[
    dict[Annotated[str, Meta(max_length=MAX_SCORE_NAME_CHARS)], Number | None], Meta(max_length=MAX_SCORES)
]
"""Critic and mode to score, ``{"flicker.quality": 0.47, …}``; null if the critic gave none."""
Context = Annotated[
    dict[
        Name,
        str
        | bool
        | Annotated[int, Meta(ge=-int(MAX_NUMBER), le=int(MAX_NUMBER))]
        | Number
        | list[Any]
        | dict[str, Any]
        | None,
    ],
    Meta(max_length=MAX_CONTEXT_ENTRIES),
]
"""How one or both candidates were generated; strings, booleans and numbers become features."""
ScoreRange = tuple[Number, Number, bool]
"""A critic's lowest and highest score, in its own unit, and whether it gives fractions; markers of missing
scores do not count (``trainers.bradley_terry.marks``)."""


class Extras(dict[str, Any]):
    """Fields unknown to this version, by name."""


class Contract(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """Base of all messages. They contain no reference cycles, so garbage collection is off for them."""

    extras: Extras | UnsetType = UNSET
    """Usually unset: there are none."""
