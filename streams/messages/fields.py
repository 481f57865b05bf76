"""The types of contracts' fields, with their bounds, and what every contract is."""

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
"""A score in a critic's own unit, or what is said of a candidate."""
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Iteration = Annotated[int, Meta(ge=0, lt=MAX_ITERATIONS)]
Iterations = Annotated[tuple[Iteration, ...], Meta(max_length=MAX_ITERATIONS)]
Id = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
RunId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
Scores = Annotated[
    dict[Annotated[str, Meta(max_length=MAX_SCORE_NAME_CHARS)], Number | None], Meta(max_length=MAX_SCORES)
]
"""Critic and mode to score, ``{"flicker.quality": 0.47, …}``; null where the critic gave none."""
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
"""What a candidate or both were made with; texts, truth values and numbers are weighed."""
ScoreRange = tuple[Number, Number, bool]
"""The lowest and the highest that a critic shows, in its own unit, and whether it shows fractions; marks for
missing scores do not count (``trainers.bradley_terry.marks``)."""


class Extras(dict[str, Any]):
    """Fields that this version does not know, by name."""


class Contract(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """What every message is. Nothing in one leads back to it, so the garbage collector need not look."""

    extras: Extras | UnsetType = UNSET
    """Unset where there is none, as almost always."""
