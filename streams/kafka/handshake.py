"""A time limit on kafka-python's TLS handshakes, which otherwise wait indefinitely for a silent broker.

A broker whose process hangs, or that the network loses midway, would stop a client for good.
"""

from __future__ import annotations

import time
from typing import Any

from kafka.net.transport import KafkaSSLTransport

HANDSHAKE_S = 5.0
"""Seconds after which a client gives up a connection and tries again."""
_as_it_was = KafkaSSLTransport.handshake


class _Bounded:
    """The client's event loop, whose waits for a socket end with KafkaTimeoutError at ``timeout_at``."""

    def __init__(self, net: Any, timeout_at: float) -> None:
        self._net = net
        self._timeout_at = timeout_at

    def wait_read(self, sock: Any) -> Any:
        return self._net.wait_read(sock, self._timeout_at)

    def wait_write(self, sock: Any) -> Any:
        return self._net.wait_write(sock, self._timeout_at)


async def _handshake(transport: Any) -> None:
    net = transport._net
    transport._net = _Bounded(net, time.monotonic() + HANDSHAKE_S)
    try:
        await _as_it_was(transport)
    finally:
        transport._net = net


def bound_handshakes() -> None:
    """Apply the time limit to every client of this process. May be called again."""
    KafkaSSLTransport.handshake = _handshake
