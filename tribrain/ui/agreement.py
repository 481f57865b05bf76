"""Agreement between annotators: at the end of a session, and on a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from streams.messages.contracts import RewardSnapshot
from streams.messages.dimensions import dimension_called
from streams.messages.votes import Vote
from tribrain.ui.ballots import pair_of
from tribrain.ui.pages import page, state_of

if TYPE_CHECKING:
    from trainers.evidence.agreement import Agreement


async def show(request: Request) -> Response:
    state = state_of(request)
    news = state.news
    votes = state.ballots.standing()
    dimensions = sorted({vote.dimension for vote in votes})
    figures = await run_in_threadpool(_of_each, votes, dimensions)
    return page(
        request,
        "agreement.html.j2",
        "agreement",
        figures=figures,
        reliability={name: reliability(state.snapshot(), name) for name in dimensions},
        news=news,
    )


def _of_each(votes: Sequence[Vote], dimensions: Sequence[str]) -> list[tuple[str, Agreement]]:
    # Imported here and below, not at the top: SciPy takes a second to import, and voting does not need it.
    from trainers.evidence.agreement import agreement

    return [(name, agreement([vote for vote in votes if vote.dimension == name])) for name in dimensions]


def reliability(snapshot: RewardSnapshot | None, dimension: str) -> dict[str, Any]:
    """What the model of a dimension has learnt about each annotator; empty if it does not tell them apart."""
    name = dimension_called(dimension)
    model = snapshot.dimensions.get(name) if snapshot is not None and name else snapshot
    found = model.metrics.get("annotators") if model is not None else None
    return dict(found) if isinstance(found, dict) else {}


def session_figures(votes: Sequence[Vote], annotator: str, n: int) -> dict[str, Any]:
    """Figures on the newest ``n`` votes of an annotator, and on repeats and agreement in all their votes."""
    from trainers.evidence.agreement import category_of, own_repeats

    own = [vote for vote in votes if vote.annotator == annotator]
    newest = own[-n:] if n > 0 else []
    repeats = own_repeats(own)
    times = sorted(vote.response_time_s for vote in newest if vote.response_time_s is not None)
    theirs = {
        (pair_of(vote), vote.dimension): category_of(vote) for vote in votes if vote.annotator != annotator
    }
    shared = [
        (category_of(vote), theirs[key])
        for vote in own
        if (key := (pair_of(vote), vote.dimension)) in theirs and category_of(vote) and theirs[key]
    ]
    return {
        "votes": len(newest),
        "all_votes": len(own),
        "median_s": times[len(times) // 2] if times else None,
        "repeats": len(repeats),
        "repeats_same": sum(first == second for first, second in repeats),
        "shared": len(shared),
        "shared_same": sum(mine == other for mine, other in shared),
    }
