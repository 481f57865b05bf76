"""Sealed links: data that the server passes to itself through the browser, which cannot read it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

from streams.errors import BadInput

_BLOCK_BYTES = 512
"""Sealed content is padded to a multiple of this, so that its length reveals nothing."""
_KEY_BYTES = 32


class Forged(Exception):
    """A link that this server did not make, or made for another purpose."""


class Links:
    """Seals small objects into text for URLs, and opens them again, even after a restart with the same
    key."""

    def __init__(self, key: bytes) -> None:
        """``key`` holds 32 random bytes."""
        self._key = key
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, kind: str, content: dict[str, Any]) -> str:
        """Two seals of the same content differ; all have the same length up to about 500 bytes of content."""
        plain = orjson.dumps({"kind": kind, **content})
        padded = plain + b" " * (-len(plain) % _BLOCK_BYTES)
        return self._fernet.encrypt(padded).decode()

    def open(self, kind: str, token: str) -> dict[str, Any]:
        """Raises Forged."""
        try:
            content: dict[str, Any] = orjson.loads(self._fernet.decrypt(token.encode()))
        except (InvalidToken, UnicodeEncodeError):
            raise Forged(kind) from None
        if content.pop("kind") != kind:
            raise Forged(kind)
        return content

    def secret(self, purpose: str) -> str:
        """A secret derived from key and purpose, always the same; it does not reveal the key."""
        return hmac.new(self._key, purpose.encode(), hashlib.sha256).hexdigest()[:32]


def kept_key(path: Path) -> bytes:
    """The key in a file that only its owner can read, created if missing. Raises BadInput."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_once(path, os.urandom(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path}: cannot hold the key of the page's links: {error.strerror}; choose another --state-dir"
        ) from None
    if len(key) != _KEY_BYTES:
        raise BadInput(f"{path}: has {len(key)} bytes; expected a key of {_KEY_BYTES} bytes: remove the file")
    return key


def _write_once(path: Path, content: bytes) -> None:
    """Write atomically and readable only by the owner; if another process was faster, its file stays."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink()


def digest(run_id: str, iter_idx: int) -> str:
    """A candidate's name in links: 32 hexadecimal digits, whatever the length of its run's id."""
    return hashlib.sha256(f"{run_id}\0{iter_idx}".encode()).hexdigest()[:32]
