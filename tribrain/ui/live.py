"""Updates for open pages: a server-sent event (HTML) whenever there is something new to show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tribrain.ui.pages import state_of

_LOOK_S = 0.1
"""A check costs a few µs; a voter should see the result of a vote within a second."""
_SAY_S = 15.0


async def stream(request: Request) -> Response:
    """``data:`` is a text that changes whenever there is news; a comment every 15 s keeps the stream
    alive."""
    state = state_of(request)
    stopping: asyncio.Event = request.app.state.stopping

    async def events() -> AsyncIterator[str]:
        said = ""
        silent_s = 0.0
        while not stopping.is_set():
            if said != (news := state.news):
                said, silent_s = news, 0.0
                yield f"data: {news}\n\n"
            elif silent_s >= _SAY_S:
                silent_s = 0.0
                yield ": here\n\n"
            silent_s += _LOOK_S
            await asyncio.sleep(_LOOK_S)

    return StreamingResponse(events(), media_type="text/event-stream")
