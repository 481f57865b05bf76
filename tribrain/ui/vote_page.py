"""Voting: the next pair, its films and prompts, and the answers.

Before a vote a browser gets only sealed names and two films from one encoder. None of it reveals the run, the
arm or the model.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from streams.errors import BadInput
from streams.messages.codec import ContractError
from streams.messages.votes import Vote
from streams.spool.queue import SpoolError
from tribrain.ui.agreement import session_figures
from tribrain.ui.ballots import ANSWERS, pair_of
from tribrain.ui.links import Forged
from tribrain.ui.offering import NotNow, offer
from tribrain.ui.pages import (
    TooLarge,
    annotator_of,
    body_of,
    form_of,
    is_name,
    page,
    problem,
    remember_annotator,
    shown_film,
    state_of,
)
from tribrain.ui.state import SILENT_S, PageState

PAGE = "tribrain-ui/1"
_READ_WITHIN_MS = 600_000
"""Time from its start within which a server reads all runs that are on Kafka."""
_STALE = "this pair belongs to another server or key; reload the page"


class NotKnownYet(Exception):
    """A vote on runs that the server has yet to read, as it may have just after its start."""


async def show(request: Request) -> Response:
    state = state_of(request)
    if not annotator_of(request):
        return page(request, "name.html.j2", "vote", given="", error="")
    return page(request, "vote.html.j2", "vote", can_vote=state.live is not None, dimensions=state.dimensions)


async def name(request: Request) -> Response:
    """Set the annotator of this browser; an invalid name asks again."""
    given = " ".join((await form_of(request)).get("name", "").split())
    if not is_name(given):
        return page(
            request, "name.html.j2", "vote", 400, given="", error="Give a name of 1 to 60 visible characters."
        )
    answer = RedirectResponse("/vote", 303)
    remember_annotator(answer, given)
    return answer


async def change_name(request: Request) -> Response:
    return page(request, "name.html.j2", "vote", given=annotator_of(request), error="")


async def next_pair(request: Request) -> Response:
    """The next pair as JSON: sealed names, the goal, and the films' lengths and sizes.

    ``fresh=1`` says that this annotator has no pair on the stage, for example after a reload.
    """
    state, annotator = state_of(request), annotator_of(request)
    dimension = request.query_params.get("dimension", state.dimensions[0])
    if state.live is None:
        return problem(409, "votes need a broker: start the page with --bootstrap-servers")
    if not annotator:
        return problem(401, "give your name first: reload the page")
    if dimension not in state.dimensions:
        return problem(400, "this page does not ask about that dimension")
    if request.query_params.get("fresh") == "1":
        state.asker.give_back_all(annotator)
    try:
        pair = await run_in_threadpool(offer, state, annotator, dimension)
    except NotNow as error:
        return problem(503, f"No video can be shown: {error}.")
    return JSONResponse(pair)


async def film(request: Request) -> Response:
    """The film behind a sealed name, or a range of it."""
    state = state_of(request)
    try:
        sealed = state.links.open("film", request.path_params["name"])
    except Forged:
        return problem(404, "no such film")
    found = state.library.candidate(sealed["candidate"])
    if found is None:
        return problem(404, "no such film")
    run, event = found
    video = await run_in_threadpool(run.video, event)
    if video is None:
        return problem(404, "the video no longer exists")
    # A sealed name is made for one visit, so a browser's cached copy is never requested later.
    return await shown_film(request, video)


async def prompts(request: Request) -> Response:
    """Both prompts, only on request: they may reveal which model made which video."""
    state = state_of(request)
    try:
        sealed = state.links.open("pair", request.query_params.get("pair", ""))
    except Forged:
        return problem(404, _STALE)
    found = [state.library.candidate(side) for side in sealed["sides"]]
    return JSONResponse({"prompts": [each[1].prompt if each else "" for each in found]})


async def answer(request: Request) -> Response:
    """Accept a vote; the response follows once the vote is durable. A repeated id counts once."""
    state = state_of(request)
    if state.live is None:
        return problem(409, "votes need a broker: start the page with --bootstrap-servers")
    try:
        body = await body_of(request)
    except TooLarge:
        return problem(413, "this is not a vote")
    try:
        given = orjson.loads(body)
        sealed = state.links.open("pair", str(given["pair"]))
        vote = vote_of(state, given, sealed)
    except Forged:
        return problem(404, _STALE)
    except NotKnownYet:
        return problem(503, "The server is still reading the runs of this pair.")
    except (KeyError, TypeError, ValueError, ContractError) as error:
        return problem(400, f"this is not a vote: {error}")
    if sealed["annotator"] != annotator_of(request):
        return problem(403, "this pair was shown to somebody else; reload the page")
    return await run_in_threadpool(_take, state, vote, sealed["nonce"])


def vote_of(state: PageState, given: dict[str, Any], sealed: dict[str, Any]) -> Vote:
    """The vote that a browser sent, on the sealed pair.

    Raises NotKnownYet if the browser should send it again, and KeyError, TypeError, ValueError or
    ContractError if it is no vote.
    """
    left_side, right_side = (state.library.candidate(side) for side in sealed["sides"])
    if left_side is None or right_side is None:
        if _may_still_come(state):
            raise NotKnownYet
        raise ValueError("its runs are gone")
    takes_back = str(given.get("takes_back") or "")
    chosen = given.get("answer")
    if chosen not in ANSWERS and not (chosen is None and takes_back):
        raise ValueError(f"the answer is {chosen!r}; expected one of {', '.join(ANSWERS)}")
    earlier = state.ballots.get(takes_back) if takes_back else None
    if earlier is not None and earlier.annotator != sealed["annotator"]:
        raise ValueError("only the annotator who gave a vote can take it back")
    (_, left), (_, right) = left_side, right_side
    return Vote(
        vote_id=str(given["vote_id"]),
        left_run_id=left.run_id,
        left_iter_idx=left.iter_idx,
        right_run_id=right.run_id,
        right_iter_idx=right.iter_idx,
        answer=chosen,
        takes_back=takes_back,
        dimension=sealed["dimension"],
        annotator=sealed["annotator"],
        voted_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        response_time_s=_number(given.get("response_time_s")),
        plays_left=_count(given.get("plays_left")),
        plays_right=_count(given.get("plays_right")),
        rule=sealed["rule"],
        probability=sealed["probability"],
        page=PAGE,
        meta={"shown": sealed["nonce"], "prompts_read": given.get("prompts_read") is True},
    )


def _may_still_come(state: PageState) -> bool:
    """Whether runs that are not known may still be read from Kafka."""
    is_new = time.time_ns() // 1_000_000 - state.started_ms < _READ_WITHIN_MS
    return is_new or (state.live is not None and state.live.follower.silent_s > SILENT_S)


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 1e6 else None  # type: ignore[arg-type,operator]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**6 else None


def _take(state: PageState, vote: Vote, shown: str) -> JSONResponse:
    with state.taking:
        return _take_once(state, vote, shown)


def _take_once(state: PageState, vote: Vote, shown: str) -> JSONResponse:
    assert state.live is not None
    if state.ballots.get(vote.vote_id) is not None:
        return JSONResponse({"vote_id": vote.vote_id, "place": "kafka", "again": True})
    if vote.answer is not None and (first := _answered(state, vote, shown)):
        return JSONResponse({"vote_id": first, "place": "kafka", "again": True})
    if vote.answer is None:
        state.asker.hold(vote.annotator, vote.dimension, pair_of(vote))
    try:
        place = state.live.outlet.send(vote)
    except (ContractError, SpoolError, BadInput) as error:
        status = 400 if isinstance(error, ContractError) else 503
        return problem(status, f"the vote could not be stored: {error}")
    state.ballots.take(vote)
    return JSONResponse({"vote_id": vote.vote_id, "place": place, "again": False})


def _answered(state: PageState, vote: Vote, shown: str) -> str | None:
    """The vote already given on this same showing, for example in a second tab or after a reload."""
    for other in state.ballots.standing(vote.dimension):
        if other.annotator == vote.annotator and other.meta.get("shown") == shown:
            return other.vote_id
    return None


async def session(request: Request) -> Response:
    """Figures for the end of a session: votes, consistency, and agreement with others."""
    state, annotator = state_of(request), annotator_of(request)
    try:
        n = min(int(request.query_params.get("n", "0")), 100_000)
    except ValueError:
        return problem(400, "n is not a number")
    figures = await run_in_threadpool(session_figures, state.ballots.standing(), annotator, n)
    return JSONResponse(figures)
