"""A port at which something else than Kafka answers, or nothing: no broker, and never an endless look."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from streams.errors import NoBroker
from streams.kafka import connection, handshake, probe
from streams.kafka.probe import check_access
from streams.kafka.security import Secret, Security
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin

LOGIN = Security(protocol="SASL_SSL", mechanism="PLAIN", username="ann", password=Secret("secret"))
SECURITY = (Security(protocol="PLAINTEXT"), Security(protocol="SSL"), LOGIN)


def hangs_up(client: socket.socket) -> None:
    """As a forwarder does whose Kafka has not started."""


def hangs_up_when_asked(client: socket.socket) -> None:
    client.recv(1 << 16)


def speaks_http(client: socket.socket) -> None:
    client.recv(1 << 16)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def greets_as_ssh(client: socket.socket) -> None:
    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    client.recv(1 << 16)


def says_nothing(client: socket.socket) -> None:
    while client.recv(1 << 16):
        pass


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a port where each client is answered so, and then left."""

    def serve(client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            answer(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CONNECT_S", 0.2)
    monkeypatch.setattr(connection, "_SECOND_LOOK_S", 0.2)
    monkeypatch.setattr(handshake, "HANDSHAKE_S", 0.2)


@pytest.mark.parametrize("security", SECURITY, ids=lambda each: each.protocol)
@pytest.mark.parametrize("answer", [hangs_up, hangs_up_when_asked, speaks_http, greets_as_ssh, says_nothing])
def test_what_is_not_kafka_is_no_broker(answer: Callable[[socket.socket], None], security: Security) -> None:
    with listening(answer) as address:
        assert not check_access(Settings(bootstrap_servers=address, security=security))


def test_a_client_gives_up_a_tls_handshake_that_is_not_answered() -> None:
    with (
        listening(says_nothing) as address,
        pytest.raises(NoBroker, match=f"no Kafka broker answers at {address}"),
    ):
        connect_admin(Settings(bootstrap_servers=address, security=LOGIN), timeout_s=0.5)
