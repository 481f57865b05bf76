"""Bearer tokens printed by a command, which runs once per connection.

Both clients authenticate when they connect. kafka-python authenticates again before a session expires;
aiokafka reconnects after the broker has ended it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import shlex
import subprocess
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from streams.errors import BadInput
from streams.kafka.security import Secret

log = logging.getLogger(__name__)

_LONGEST_S = 5.0


def token_of(command: str) -> Secret:
    """The token that the command prints, without surrounding white space.

    Raises BadInput if the command fails, takes longer than 5 s, or prints anything but a valid token. Expiry
    is checked only for JSON Web Tokens (RFC 7519, ``exp``).
    """
    named = f"the command of sasl.oauthbearer.token.command ({_program(command)})"
    try:
        done = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=_LONGEST_S
        )
    except ValueError as error:
        raise BadInput(f"{named} cannot be read: {error}; quote it as for a shell") from None
    except subprocess.TimeoutExpired:
        raise BadInput(f"{named} printed no token within {_LONGEST_S:g} s; check why it hangs") from None
    except OSError as error:
        raise BadInput(f"{named} does not run: {error.strerror}") from None
    if done.returncode != 0:
        # Its output may hold secrets, so it is not quoted.
        raise BadInput(f"{named} failed with exit code {done.returncode}; run it yourself to see why")
    token = Secret(done.stdout.decode("ascii", "replace").strip())
    if not token or not token.isprintable() or " " in token or not token.isascii():
        found = "no token" if not token else "more than a token"
        raise BadInput(f"{named} printed {found}; expected one bearer token and nothing else")
    expired_at_s = _expiry_s(token)
    if expired_at_s is not None and expired_at_s <= time.time():
        at = datetime.fromtimestamp(expired_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise BadInput(f"{named} printed a token that expired at {at}; have it print a valid one")
    return token


def kafka_python_tokens(command: str) -> Any:
    """A token provider for kafka-python."""
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Tokens(AbstractTokenProvider):  # type: ignore[misc]
        def token(self) -> Secret:
            return _token_or_failure(command)

    return Tokens()


def aiokafka_tokens(command: str) -> Any:
    """A token provider for aiokafka that does not block the event loop."""
    from aiokafka.abc import AbstractTokenProvider

    class Tokens(AbstractTokenProvider):  # type: ignore[misc]
        async def token(self) -> Secret:
            return await asyncio.to_thread(_token_or_failure, command)

    return Tokens()


def _token_or_failure(command: str) -> Secret:
    """The token. Raises ConnectionError, as the clients expect: the connection fails, and they retry."""
    try:
        return token_of(command)
    except BadInput as error:
        log.warning("no connection to Kafka: %s", error)
        raise ConnectionError(str(error)) from None


def _program(command: str) -> str:
    """The name of the command's program; the rest of the command may hold secrets."""
    return command.split(maxsplit=1)[0]


def _expiry_s(token: str) -> float | None:
    """The token's expiry in seconds since 1970 UTC; None if the token does not state it."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return float(expiry) if isinstance(expiry, int | float) and not isinstance(expiry, bool) else None
