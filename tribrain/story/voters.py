"""The annotators that voted on the videos of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from streams.messages.votes import Vote, standing

NAMELESS = "somebody without a name"


def voters_on(run_ids: Collection[str], votes: Iterable[Vote]) -> list[tuple[str, str, str]]:
    """Name, votes and kind of each annotator, the one with the most votes first.

    A vote counts if either of its videos is of one of the runs and its annotator has not retracted it.
    """
    counts = Counter(
        (vote.annotator or NAMELESS, "a program" if vote.meta.get("simulated") is True else "a person")
        for vote in standing(votes)
        if vote.left_run_id in run_ids or vote.right_run_id in run_ids
    )
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return [(name, f"{n:,}", kind) for (name, kind), n in ordered]
