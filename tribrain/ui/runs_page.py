from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from tribrain.ui.pages import page


async def show(request: Request) -> Response:
    return page(request, "message.html.j2", "runs", title="Soon", text="")


show_all = show_one = video = show
