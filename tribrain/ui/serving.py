"""Listens and serves until a signal arrives."""

from __future__ import annotations

import signal
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from streams.errors import BadInput

_END_S = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, opened before anything else starts. Raises BadInput."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BadInput(f"--host {host}: cannot be listened on: {error.strerror or error}") from None
    with sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(128)
        except OSError as error:
            raise BadInput(
                f"{host}:{port}: cannot be listened on: {error.strerror}; choose another --port"
            ) from None
        yield sock


def url_of(sock: socket.socket) -> str:
    """The URL for a browser on this computer."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(app: Starlette, sock: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; event streams then end, and open requests have two seconds."""

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            """Do not raise the signals again at the end, as uvicorn does: that would skip the cleanup."""
            before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.stopping.set()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_END_S,
    )
    await Server(config).serve(sockets=[sock])
