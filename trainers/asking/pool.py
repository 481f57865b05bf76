"""What people can be asked about: pairs of candidates of one task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class VotableCandidate:
    """A video that can be shown, with what a reward model weighs."""

    run_id: str
    iter_idx: int
    task_id: str
    critics: Mapping[str, float | None]
    context: Mapping[str, Any] = field(default_factory=dict)
    candidate_context: Mapping[str, Any] = field(default_factory=dict)


def pairs_to_ask(
    candidates: Iterable[VotableCandidate],
) -> list[tuple[VotableCandidate, VotableCandidate]]:
    """Every two candidates of one task."""
    by_task: dict[str, list[VotableCandidate]] = {}
    for candidate in candidates:
        by_task.setdefault(candidate.task_id, []).append(candidate)
    return [pair for of_task in by_task.values() for pair in combinations(of_task, 2)]
