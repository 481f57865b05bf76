"""Checks once, at startup, that a broker lets this program in and grants the rights that it needs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic

from streams.errors import BadInput, NoBroker
from streams.kafka.rights import Right, missing_rights, named
from streams.kafka.settings import Settings

log = logging.getLogger(__name__)

_LONGEST_S = 8.0
_CONNECT_S = 4.0
_MOST_BROKERS = 3


def check_access(settings: Settings, rights: Iterable[Right] = ()) -> bool:
    """Whether a broker answers; if it does, nothing prevents using it.

    Raises BadInput within 10 s for a lasting problem: a wrong password, an untrusted authority, a name that
    the certificate does not cover, an expired token, TLS on one side only, or a missing right. An unreachable
    broker is not such a problem.
    """
    # Imported late: commands import this module even for --help.
    from kafka.protocol.metadata import MetadataRequest

    from streams.kafka.connection import Connection

    deadline_s = monotonic() + _LONGEST_S

    def connect(host: str, port: int) -> Connection:
        return Connection(settings.security, host, port, min(deadline_s, monotonic() + _CONNECT_S))

    if settings.security.mechanism == "PLAIN" and not settings.security.is_encrypted:
        log.warning("the password of %s is sent over the network unencrypted", settings.security.principal)
    for host, port in settings.addresses:
        try:
            with connect(host, port) as connection:
                answer = connection.ask(MetadataRequest(topics=[], max_version=9))
                brokers = [(broker.host, broker.port) for broker in answer.brokers]
                missing = missing_rights(connection, rights, connect)
        except NoBroker as error:
            log.debug("%s", error)
            continue
        if missing:
            raise refusal(settings, named(missing))
        # Clients then connect to the addresses that the brokers advertise, which may have other names.
        for broker in brokers[:_MOST_BROKERS]:
            if broker != (host, port):
                with suppress(NoBroker):
                    connect(*broker).close()
        return True
    return False


def refusal(settings: Settings, what: str) -> BadInput:
    """The error for a missing right; ``what`` names operations and resources."""
    return BadInput(
        f"{settings.security.principal} may not {what} at {settings.bootstrap_servers}; "
        "add an ACL that allows it, or connect as another user"
    )
