"""The address with the token, as people follow it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.pages import page_server, write_runs

TOKEN = "letmein" * 4


@contextmanager
def site_that_links_to(url: str) -> Iterator[str]:
    """The address of another site, such as a web mail, with one link."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<a href="{url}">the page</a>'.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.parametrize("path", ["/runs", "/vote"])
def test_a_link_with_the_token_on_another_site_opens_the_page(path: str, tmp_path: Path, visit: Any) -> None:
    write_runs(tmp_path, runs=1)
    with (
        page_server(tmp_path, "--host", "0.0.0.0", TRIBRAIN_UI_TOKEN=TOKEN) as server,
        site_that_links_to(f"{server.url}{path}?token={TOKEN}") as site,
    ):
        page = visit(server.url, "").new_page()
        page.goto(site)
        with page.expect_navigation() as navigation:
            page.click("text=the page")
        assert (page.url, navigation.value.status) == (f"{server.url}{path}", 200)
