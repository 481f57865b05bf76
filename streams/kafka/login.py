"""A login folder: ``client.properties`` and the certificate authority, all that a client needs to log in.

It can be moved and mounted anywhere: the properties name the authority by a relative path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.errors import BadInput
from streams.files import read_bytes, write_atomically
from streams.kafka.security import NAMES, Secret
from streams.kafka.security_sources import read_sources

PROPERTIES = "client.properties"
_AUTHORITY = "ca.pem"
_OWNER, _OWNER_AND_GROUP = 0o600, 0o640


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """The content of a login folder: a user who logs in by SCRAM over TLS."""

    bootstrap_servers: str
    mechanism: str
    username: str
    password: Secret
    ca_location: str
    """A file is copied into the folder; a folder is referenced by its path; empty means the system's own."""


def password_in(folder: Path, username: str) -> Secret | None:
    """The password of the existing login, or None. Raises BadInput if it is another user's login."""
    properties = folder / PROPERTIES
    if not properties.exists():
        return None
    security = read_sources({}, str(properties)).security
    if security.username != username:
        raise BadInput(
            f"{properties} is the login of {security.principal}; expected the login of user {username!r}: "
            "give another folder"
        )
    return security.password


def write_login(folder: Path, login: Login, *, group_may_read: bool = False) -> None:
    """Replace the login atomically. Raises OSError, and BadInput if the authority's file is missing."""
    lines = [
        f"bootstrap.servers={login.bootstrap_servers}",
        f"{NAMES['protocol']}=SASL_SSL",
        f"{NAMES['mechanism']}={login.mechanism}",
        f"{NAMES['username']}={login.username}",
        f"{NAMES['password']}={login.password}",
    ]
    authorities = Path(login.ca_location)
    if login.ca_location and authorities.is_dir():
        lines.append(f"{NAMES['ca_location']}={authorities.absolute()}")
    elif login.ca_location:
        write_atomically(folder / _AUTHORITY, read_bytes(authorities))
        lines.append(f"{NAMES['ca_location']}={_AUTHORITY}")
    # Written last: if it exists, the folder is complete.
    mode = _OWNER_AND_GROUP if group_may_read else _OWNER
    write_atomically(folder / PROPERTIES, _text(lines), mode=mode)


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
