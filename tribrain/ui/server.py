"""The page as one ASGI application: only its routes."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tribrain.figures.templates import LOOK, environment
from tribrain.ui import agreement, health, live, model_page, now_page, runs_page, vote_page
from tribrain.ui.guard import HEALTH, Guard
from tribrain.ui.pages import HERE, TooLarge, page
from tribrain.ui.state import PageState

_LOOK = ("tribrain.figures", LOOK.name)


def application(state: PageState, *, hosts: frozenset[str], token: str | None) -> Starlette:
    """``hosts`` are the names that it answers to; ``token`` is None if only this computer can reach it."""
    app = Starlette(
        routes=[
            Route("/", now_page.show),
            Route("/vote", vote_page.show),
            Route("/vote/name", vote_page.change_name),
            Route("/vote/name", vote_page.name, methods=["POST"]),
            Route("/vote/next", vote_page.next_pair),
            Route("/vote/prompts", vote_page.prompts),
            Route("/vote/answers", vote_page.answer, methods=["POST"]),
            Route("/vote/session", vote_page.session),
            Route("/film/{name}", vote_page.film),
            Route("/runs", runs_page.show_all),
            Route("/runs/{name}", runs_page.show_one),
            Route("/video/{name}", runs_page.video),
            Route("/still/{name}", runs_page.still),
            Route("/model", model_page.show),
            Route("/model/rollback", model_page.ask),
            Route("/model/rollback", model_page.roll_back, methods=["POST"]),
            Route("/agreement", agreement.show),
            Route("/live", live.stream),
            Route(HEALTH, health.show),
            Mount("/static", StaticFiles(directory=HERE / "static", packages=[_LOOK])),
        ],
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers={404: _not_found, TooLarge: _too_large},
    )
    app.state.page = state
    app.state.templates = environment(HERE / "templates")
    app.state.stopping = asyncio.Event()
    return app


async def _not_found(request: Request, _: Exception) -> Response:
    return page(request, "message.html.j2", "", 404, title="Page not found", text="")


async def _too_large(request: Request, _: Exception) -> Response:
    return page(request, "message.html.j2", "", 413, title="The form is too large", text="")
