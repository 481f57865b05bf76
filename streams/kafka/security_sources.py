"""Reads the security settings from a properties file and from environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from streams.errors import BadInput
from streams.kafka.security import NAMES, SECRETS, Secret, Security

CONFIG_VARIABLE = "TRIBRAIN_KAFKA_CONFIG"
PREFIX = "TRIBRAIN_KAFKA_"
_OF_FILE = "_FILE"
SERVERS = "bootstrap.servers"
_ALIASES = {"sasl.mechanisms": "sasl.mechanism"}
_FIELDS = {name: field for field, name in NAMES.items()}
_LOCATIONS = tuple(name for name in _FIELDS if name.endswith(".location"))
_UPPER = ("protocol", "mechanism")
_LONGEST_BYTES = 64 << 10
_OF_KUBERNETES = re.compile(PREFIX + r"(SERVICE_(HOST|PORT\w*)|PORT(_[0-9]+_(TCP|UDP|SCTP)\w*)?)")
"""Variables that Kubernetes sets in every pod if there is a service named tribrain-kafka."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The combined settings of file and environment."""

    security: Security
    bootstrap_servers: str
    """The servers that the file names; empty if it names none."""


def read_sources(environment: Mapping[str, str] | None = None, config: str | None = None) -> Sources:
    """Read the file named by ``TRIBRAIN_KAFKA_CONFIG``, then the variables ``TRIBRAIN_KAFKA_…``, which
    override it.

    ``environment`` is by default this process's; ``config`` replaces the named file. An empty variable counts
    as unset. Raises BadInput for a setting that cannot be read, is unknown, is given twice, or contradicts
    another.
    """
    # From here on no frame holds a secret that a traceback with variables would show.
    environment = _as_secrets(environment)
    config = config or environment.get(CONFIG_VARIABLE)
    given = _read_file(Path(config)) if config else {}
    servers = given.pop(SERVERS, "")
    given |= _of_environment(environment)
    values = {_FIELDS[name]: _normalised(_FIELDS[name], value) for name, value in given.items()}
    return Sources(Security(**values), str(servers))  # type: ignore[arg-type]


def _as_secrets(environment: Mapping[str, str] | None) -> dict[str, Secret]:
    given = os.environ if environment is None else environment
    return {name: Secret(value) for name, value in given.items()}


def _normalised(field: str, value: Secret) -> str:
    if field in SECRETS:
        return value
    if field in _UPPER:
        return value.upper()
    return value.lower() if field == "endpoint_identification" else str(value)


def without_secrets(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment, by default this process's, without Kafka secrets; for programs of others."""
    secret = {variable_of(NAMES[field]) for field in SECRETS}
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if name not in secret}


def variable_of(name: str) -> str:
    """The environment variable for one of librdkafka's names."""
    return PREFIX + name.upper().replace(".", "_")


def _read_file(path: Path) -> dict[str, Secret]:
    """Read lines ``name=value``; empty lines and those that begin with ``#`` are ignored."""
    try:
        text = Secret(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; give a file of Kafka properties") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text; expected lines such as sasl.username=trainer") from None
    given: dict[str, Secret] = {}
    for number, (name, value) in enumerate(_lines(text), start=1):
        if not (name or value):
            continue
        where = f"{path}:{number}"
        if not name:
            # The line may hold a secret, so it is not quoted.
            raise BadInput(f"{where} has no name and '='; expected a line such as sasl.username=trainer")
        name = _ALIASES.get(name, name)
        if name != SERVERS and name not in _FIELDS:
            raise BadInput(f"{where}: {_unknown(name, (*_FIELDS, SERVERS))}")
        if not value:
            raise BadInput(f"{where}: {name} has no value; give one or leave the line out")
        if name in given:
            raise BadInput(f"{where}: {name} is given twice; give it once")
        if name in _LOCATIONS:
            # Relative to this file, so that they can be moved together.
            value = Secret(path.parent / value)
        given[name] = value
    return given


def _lines(text: str) -> list[tuple[str, Secret]]:
    """Name and value of each line; both empty for an ignored line, an empty name for a line without one."""
    found = []
    for line in text.splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not name or name.startswith("#"):
            name, value = "", (value or equals) if equals and not name else ""
        elif not equals:
            name, value = "", name
        found.append((name, Secret(value)))
    return found


def _of_environment(environment: Mapping[str, Secret]) -> dict[str, Secret]:
    variables = {variable_of(name): name for name in _FIELDS}
    from_files = {variable_of(NAMES[field]) + _OF_FILE: NAMES[field] for field in SECRETS}
    given: dict[str, Secret] = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or not value:
            continue
        if variable in from_files:
            if environment.get(variable.removesuffix(_OF_FILE)):
                raise BadInput(
                    f"{variable.removesuffix(_OF_FILE)} and {variable} are both set; set one of them"
                )
            given[from_files[variable]] = _secret_in(Path(value), variable)
        elif variable in variables:
            given[variables[variable]] = value
        elif not _OF_KUBERNETES.fullmatch(variable):
            raise BadInput(_unknown(variable, (*variables, *from_files, CONFIG_VARIABLE)))
    return given


def _secret_in(path: Path, variable: str) -> Secret:
    """The file's only line, without the line break at its end."""
    try:
        with path.open("rb") as file:
            secret = Secret(
                file.read(_LONGEST_BYTES).decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
            )
    except OSError as error:
        raise BadInput(f"{variable}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{variable}: {path} is not UTF-8 text; expected only the secret") from None
    if not secret or "\n" in secret:
        found = "is empty" if not secret else "has several lines"
        raise BadInput(f"{variable}: {path} {found}; expected only the secret, in one line")
    return secret


def _unknown(name: str, known: Iterable[str]) -> str:
    choices = sorted(known)
    if name == variable_of(SERVERS):
        return f"{name} is not a security setting; set TRIBRAIN_BOOTSTRAP_SERVERS instead"
    close = get_close_matches(name, choices, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(choices)}"
    return f"{name} is not a setting that TriBrain knows; {hint}"
