"""A connection to a broker that can lose the broker's answers while the requests still get there."""

from __future__ import annotations

import contextlib
import socket
import threading

_HOST = "127.0.0.1"
_CHUNK = 1 << 16


class AnswerLosingProxy:
    """Listens on ``port`` and passes everything on to ``broker_port``, but no answer while it is muted.

    Bytes of requests are kept: those of while it was muted, and those of after.
    """

    def __init__(self, port: int, broker_port: int) -> None:
        self._broker_port = broker_port
        self._muted = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.requests_while_muted = bytearray()
        self.requests_after = bytearray()
        self.lost_bytes = 0
        self._server = socket.create_server((_HOST, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> AnswerLosingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._close_connections()

    def mute(self) -> None:
        """From now on the broker's answers are lost."""
        self._muted.set()

    def unmute(self) -> None:
        """Cut every connection on which an answer may have been lost, and let answers through again."""
        self._close_connections()
        self._muted.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                broker = socket.create_connection((_HOST, self._broker_port))
            except OSError:
                return
            with self._lock:
                self._connections |= {client, broker}
            for source, sink, answers in ((client, broker, False), (broker, client, True)):
                threading.Thread(target=self._pass_on, args=(source, sink, answers), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if answers and self._muted.is_set():
                    self.lost_bytes += len(chunk)
                    continue
                if not answers:
                    kept = self.requests_while_muted if self._muted.is_set() else self.requests_after
                    kept += chunk
                sink.sendall(chunk)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _close_connections(self) -> None:
        with self._lock:
            connections, self._connections = self._connections, set()
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
