"""A folder that has all a client needs to log in: ``client.properties``, and the authority to trust.

It can be moved and mounted anywhere, as a file of properties names the authority beside it.
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
    """What a folder says: a user by SCRAM, over TLS."""

    bootstrap_servers: str
    mechanism: str
    username: str
    password: Secret
    ca_location: str
    """A file is copied into the folder; a folder of authorities is named; empty for those of the system."""


def password_in(folder: Path, username: str) -> Secret | None:
    """The password of the login that is there; None where there is none. Raises BadInput for another's."""
    properties = folder / PROPERTIES
    if not properties.exists():
        return None
    security = read_sources({}, str(properties)).security
    if security.username != username:
        raise BadInput(
            f"{properties} is the login of {security.principal}; expected that of user {username!r}: "
            "give another folder"
        )
    return security.password


def write_login(folder: Path, login: Login, *, group_may_read: bool = False) -> None:
    """Replace the login that is there, whole. Raises OSError, and BadInput where the authority is missing."""
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
    # Last, so that where it is, all is.
    mode = _OWNER_AND_GROUP if group_may_read else _OWNER
    write_atomically(folder / PROPERTIES, _text(lines), mode=mode)


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
