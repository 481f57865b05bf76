"""The Runs pages: a list of all runs, and the details of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from streams.messages.contracts import TraceEvent
from tribrain.story.course import Point, course
from tribrain.story.steps import Film, steps, why_it_stopped
from tribrain.ui.library import RunStory, run_name
from tribrain.ui.links import digest
from tribrain.ui.pages import page, problem, shown_film, shown_still, state_of
from tribrain.ui.stores import StoredVideo

PER_PAGE = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCard:
    """A run as shown in a list."""

    name: str
    run_id: str
    goal: str
    state: str
    iterations: int
    best: TraceEvent | None
    video: str | None
    points: list[Point]


def card(run: RunStory) -> RunCard:
    best = run.best
    return RunCard(
        name=run_name(run.run_id),
        run_id=run.run_id,
        goal=run.goal,
        state=run.state,
        iterations=len(run.events),
        best=best,
        video=video_url(run, best),
        points=course(run.iterations),
    )


def video_url(run: RunStory, event: TraceEvent | None) -> str | None:
    if event is None or run.video(event) is None:
        return None
    return f"/video/{digest(run.run_id, event.iter_idx)}"


def _film(run: RunStory, event: TraceEvent | None) -> Film:
    return Film(src=video_url(run, event) or "")


def _first_frame(run: RunStory) -> Film:
    first = run.iterations[0]
    return Film(poster=f"/still/{digest(run.run_id, first.iter_idx)}") if run.video(first) else Film()


async def show_all(request: Request) -> Response:
    state = state_of(request)
    news, runs = state.news, state.library.runs()
    try:
        number = max(1, int(request.query_params.get("page", "1")))
    except ValueError:
        number = 1
    cards = [card(run) for run in runs[(number - 1) * PER_PAGE : number * PER_PAGE]]
    pages = max(1, -(-len(runs) // PER_PAGE))
    return page(
        request,
        "runs.html.j2",
        "runs",
        news=news,
        cards=cards,
        number=number,
        pages=pages,
        total=len(runs),
    )


async def show_one(request: Request) -> Response:
    state = state_of(request)
    news, run = state.news, state.library.named(request.path_params["name"])
    if run is None:
        return page(
            request,
            "message.html.j2",
            "runs",
            404,
            title="Run not found",
            text="It may be in a folder that this page does not show.",
        )
    return page(
        request,
        "run.html.j2",
        "runs",
        news=news,
        run=card(run),
        best_film=_film(run, run.best),
        first_frame=_first_frame(run),
        steps=steps(run.iterations, lambda event: _film(run, event)),
        why=why_it_stopped(run.end.stop_reason if run.end else None),
        folder=str(run.folder) if run.folder else "",
    )


async def video(request: Request) -> Response:
    """The video of an iteration, by the digest of run and iteration."""
    place = await _place(request)
    if place is None:
        return problem(404, "there is no such video")
    return await shown_film(request, place)


async def still(request: Request) -> Response:
    """The first frame of such a video, as an image."""
    place = await _place(request)
    if place is None:
        return problem(404, "there is no such video")
    return await shown_still(request, place)


async def _place(request: Request) -> Path | StoredVideo | None:
    found = state_of(request).library.candidate(request.path_params["name"])
    return await run_in_threadpool(found[0].video, found[1]) if found else None
