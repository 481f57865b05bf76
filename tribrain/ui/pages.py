"""What all pages share: templates, the annotator's name, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from runner.interfaces import GenerationFailed
from streams.snapshots.artifacts import ArtifactError, ArtifactGone, StoreAway
from tribrain.ui.films import BlindCopy, in_parts
from tribrain.ui.state import PageState
from tribrain.ui.stores import StoredVideo

HERE = Path(__file__).parent
ANNOTATOR_COOKIE = "tribrain_annotator"
MAX_NAME_CHARS = 60
_MAX_BODY_BYTES = 16 << 10
_MAX_FIELDS = 8
_YEAR_S = 365 * 86_400
_KEPT_BY_BROWSERS = {"Cache-Control": "private, max-age=900"}
SECTIONS = (
    ("now", "/", "Now"),
    ("vote", "/vote", "Vote"),
    ("runs", "/runs", "Runs"),
    ("model", "/model", "Model"),
    ("agreement", "/agreement", "Agreement"),
)


def state_of(request: Request) -> PageState:
    state: PageState = request.app.state.page
    return state


def page(
    request: Request, template: str, section: str, status: int = 200, *, news: str = "", **values: Any
) -> HTMLResponse:
    """Render a page; ``section`` is its entry in the navigation.

    For a page that updates itself, ``news`` is the state's ``news`` from before the page's data was read.
    """
    made: Environment = request.app.state.templates
    html = made.get_template(template).render(
        section=section, sections=SECTIONS, annotator=annotator_of(request), news=news, **values
    )
    return HTMLResponse(html, status)


def problem(status: int, what: str) -> JSONResponse:
    """An error for the page's own script: one sentence for people."""
    return JSONResponse({"error": what}, status)


async def shown_film(request: Request, video: Path | StoredVideo) -> Response:
    """The anonymous copy of a video, or the requested range of it; otherwise an error."""
    film = await _film_of(request, video)
    if isinstance(film, Response):
        return film
    return in_parts(film.path, request.headers.get("range"), _KEPT_BY_BROWSERS)


async def shown_still(request: Request, video: Path | StoredVideo) -> Response:
    """The first frame of a video; otherwise an error."""
    film = await _film_of(request, video)
    if isinstance(film, Response):
        return film
    # Not at the top: OpenCV takes long to import, and voting does not need it.
    from tribrain.story.stills import still_of_first_frame

    image = await run_in_threadpool(still_of_first_frame, film.path)
    return Response(image, media_type="image/webp", headers=_KEPT_BY_BROWSERS)


async def _film_of(request: Request, video: Path | StoredVideo) -> BlindCopy | Response:
    try:
        return await run_in_threadpool(state_of(request).films.blind, video)
    except StoreAway as error:
        return problem(503, f"The video cannot be shown now: {error}.")
    except ArtifactGone:
        return problem(404, "The video is no longer in its store.")
    except FileNotFoundError:
        return problem(404, "The video no longer exists.")
    except OSError as error:
        return problem(503, f"The video cannot be shown now: {error.strerror}.")
    except (GenerationFailed, ArtifactError):
        return problem(404, "The video cannot be shown.")


class TooLarge(Exception):
    """A request body larger than any form or vote of this page."""


async def body_of(request: Request) -> bytes:
    """The body of a request. Raises TooLarge."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise TooLarge
    return bytes(body)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a URL-encoded form; of repeated fields the last. Raises TooLarge."""
    text = (await body_of(request)).decode(errors="replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise TooLarge from None


def annotator_of(request: Request) -> str:
    """The annotator of this browser; empty if unknown."""
    given = unquote(request.cookies.get(ANNOTATOR_COOKIE, ""))
    return given if is_name(given) else state_of(request).annotator


def remember_annotator(response: HTMLResponse | Any, name: str) -> None:
    response.set_cookie(
        ANNOTATOR_COOKIE, quote(name, safe=""), httponly=True, samesite="lax", max_age=_YEAR_S
    )


def is_name(text: str) -> bool:
    """Whether this is a valid annotator name."""
    return 0 < len(text) <= MAX_NAME_CHARS and text.isprintable() and text == text.strip()
