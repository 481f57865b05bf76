"""``/metrics`` and ``/health`` over HTTP, served by a thread that answers even if the process hangs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from streams.errors import BadInput
from streams.metrics.instruments import Instruments

_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_SLOWEST_CLIENT_S = 10.0


@contextmanager
def serving_metrics(instruments: Instruments, host: str, port: int | None) -> Iterator[str | None]:
    """Serve until the block ends; yields the URL, or None if ``port`` is None.

    Port 0 picks a free one. Raises BadInput if the port cannot be listened on.
    """
    if port is None:
        yield None
        return
    server = _listening(instruments, host, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        bound, number = server.server_address[:2]
        yield f"http://[{bound!s}]:{number}" if ":" in str(bound) else f"http://{bound!s}:{number}"
    finally:
        server.shutdown()
        server.server_close()


def _listening(instruments: Instruments, host: str, port: int) -> ThreadingHTTPServer:
    class Handler(_Handler):
        asked = instruments

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that disconnects midway is not an error of this process."""

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        Server.address_family = family
        return Server((str(address[0]), port), Handler)
    except OSError as error:
        raise BadInput(
            f"metrics: {host}:{port} cannot be listened on: {error.strerror or error}; choose another "
            "--metrics-port, or --metrics-host"
        ) from None


class _Handler(BaseHTTPRequestHandler):
    asked: Instruments
    timeout = _SLOWEST_CLIENT_S
    server_version, sys_version = "tribrain", ""

    def do_GET(self) -> None:
        """Answer a request for a path."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(HTTPStatus.OK, self.asked.text(), _PROMETHEUS)
        elif path == "/health":
            condition = self.asked.health()
            status = HTTPStatus.OK if condition.is_well else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{condition.sentence}\n".encode(), _TEXT)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"There are /metrics and /health.\n", _TEXT)

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing: there is a scrape every few seconds."""
