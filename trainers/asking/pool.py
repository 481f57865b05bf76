"""The pairs that people can be asked about: two candidates of the same task, from any of its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

from msgspec import Struct

from streams.errors import BadInput
from streams.messages.contracts import PreferencePair, TraceEvent
from trainers.pairs.votes import contexts_of_two

MOST_PER_TASK = 100
MOST_PAIRS = 4_000
"""Limit over all tasks, so that choosing takes no noticeable time; above it, each task has fewer pairs."""


class VotableCandidate(Struct, frozen=True):
    """A video that people can see, with everything that a model may learn from a vote on it."""

    run_id: str
    iter_idx: int
    task_id: str
    critics: dict[str, float | None]
    """Score by critic and mode; null where the critic gave none."""
    context: dict[str, Any]
    """Context of its run: world model, task family."""
    candidate_context: dict[str, Any]
    """Context of this candidate alone."""

    @property
    def name(self) -> tuple[str, int]:
        """Run and iteration."""
        return self.run_id, self.iter_idx


Pair = tuple[VotableCandidate, VotableCandidate]


def votable(event: TraceEvent, task_id: str) -> VotableCandidate:
    """The candidate of an event, to be compared with others of this task."""
    return VotableCandidate(
        run_id=event.run_id,
        iter_idx=event.iter_idx,
        task_id=task_id,
        critics=event.critic_scores(),
        context=event.context,
        candidate_context=event.candidate_context,
    )


def pairs_to_ask(
    candidates: Iterable[VotableCandidate],
    most_per_task: int = MOST_PER_TASK,
    *,
    model_of: Callable[[VotableCandidate], str] = lambda _: "",
) -> list[Pair]:
    """All pairs of candidates of the same task, in an order that does not depend on that of the candidates.

    Where ``model_of`` names the reward model that learns from a candidate, no pair spans two models.
    A task has at most ``most_per_task`` pairs. It has fewer, but at least one, if all tasks together would
    exceed ``MOST_PAIRS``. Their names decide which pairs are drawn, so the selection stays the same as others
    are added. If a candidate is given twice, its last version counts. Raises BadInput for a number below 1.
    """
    if most_per_task < 1:
        raise BadInput(f"most_per_task is {most_per_task}; expected at least 1 pair per task")
    tasks: dict[tuple[str, str], dict[tuple[str, int], VotableCandidate]] = {}
    for candidate in candidates:
        tasks.setdefault((candidate.task_id, model_of(candidate)), {})[candidate.name] = candidate
    most = min(most_per_task, max(1, MOST_PAIRS // max(1, len(tasks))))
    return [pair for task in sorted(tasks) for pair in _drawn(tasks[task], most)]


def named(pair: Pair) -> frozenset[tuple[str, int]]:
    """Both candidates as (run, iteration), whichever is on the left."""
    return frozenset((pair[0].name, pair[1].name))


def as_preference(pair: Pair) -> PreferencePair:
    """The preference that would be learnt if the first were preferred.

    Runs of one task may differ in their contexts: the pair gets what both share, each side gets the rest.
    """
    one, other = pair
    shared, of_one, of_other = contexts_of_two(
        one.context, other.context, one.candidate_context, other.candidate_context
    )
    return PreferencePair(
        task_id=one.task_id,
        label_source="human",
        chosen_critics=one.critics,
        rejected_critics=other.critics,
        context=shared,
        chosen_context=of_one,
        rejected_context=of_other,
    )


def _drawn(task: dict[tuple[str, int], VotableCandidate], most: int) -> list[Pair]:
    pairs = list(combinations([task[name] for name in sorted(task)], 2))
    if len(pairs) > most:
        pairs = sorted(pairs, key=_digest)[:most]
    return pairs


def _digest(pair: Pair) -> bytes:
    names = "\0".join(f"{candidate.run_id}\0{candidate.iter_idx}" for candidate in pair)
    return hashlib.blake2b(names.encode(errors="surrogatepass"), digest_size=16).digest()
