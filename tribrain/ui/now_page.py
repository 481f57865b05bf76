from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from tribrain.ui.pages import page


async def show(request: Request) -> Response:
    return page(request, "message.html.j2", "now", title="Soon", text="")
