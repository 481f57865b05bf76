"""Options of commands from a TOML file.

A table has a command's name, as in ``[run.simulated]``; a group's table, as in ``[run]``, holds what its
commands have in common. Keys are the long names of options. The command line and environment variables take
precedence.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal

import click

from streams.errors import BadInput
from streams.files import read_text
from tribrain.shell.option_types import Shares
from tribrain.shell.renamed import Renamed


@dataclass(frozen=True, slots=True)
class Given:
    """The value of an option as Click takes it, and where it was found."""

    value: Any
    kind: Literal["environment", "file"]
    place: str
    """The environment variable, or the file and its table."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read."""

    path: Path
    tables: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, known: Collection[str]) -> ConfigFile:
        """Read a file; ``known`` are the first words of all commands.

        Raises BadInput where it cannot be read, is not TOML, or has a table of no group or command.
        """
        try:
            tables = tomllib.loads(read_text(path).decode())
        except tomllib.TOMLDecodeError as error:
            raise BadInput(f"{path}: is not TOML: {error}") from None
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise BadInput(
                    f"{path}: {name} is outside a table; put it under the name of its command, such as "
                    "[run.wow]"
                )
            if name not in known:
                raise BadInput(f"{path}: {no_such('table', name, known)}")
        return cls(path, tables)

    def options_of(
        self,
        command: Sequence[str],
        options: Iterable[click.Option],
        of_group: Callable[[], Collection[str]],
        commands: Callable[[Sequence[str]], Collection[str]],
    ) -> dict[str, Given]:
        """The file's values for a command, by the parameters' names.

        ``of_group`` gives the keys of all commands of its group, as a group's table may hold keys that one
        command lacks; ``commands`` gives the next words of commands that begin so. Raises BadInput for a
        key that is no option, a table of no command, or a value that no option can take.
        """
        by_key = {key: option for option in options for key in keys_of(option)}
        found: dict[str, Given] = {}
        table: Mapping[str, Any] = self.tables
        for depth, name in enumerate(command, start=1):
            table = table.get(name, {})
            title = ".".join(command[:depth])
            is_group = depth < len(command)
            taken: set[str] = set()
            for given, value in table.items():
                key = given.replace("_", "-")
                where = f"{self.path}: [{title}] {given}"
                if is_group and isinstance(value, dict) and key not in by_key:
                    if key not in (names := commands(command[:depth])):
                        raise BadInput(f"{self.path}: [{title}.{given}] {no_such('command', given, names)}")
                    continue
                if key not in by_key:
                    known = of_group() if is_group else current_keys(by_key.values())
                    if key not in known:
                        raise BadInput(f"{self.path}: [{title}] {no_such('option', given, known)}")
                    continue
                option = by_key[key]
                name_of_it = option.name or key
                if name_of_it in taken:
                    raise BadInput(f"{where}: is given twice under different names; give it once")
                taken.add(name_of_it)
                found[name_of_it] = Given(
                    _as_click_takes_it(where, option, value), "file", f"{self.path} [{title}]"
                )
        return found


def keys_of(option: click.Option) -> list[str]:
    """The names of an option in a file: its long ones, without dashes."""
    return [name.removeprefix("--") for name in option.opts if name.startswith("--")]


def current_keys(options: Iterable[click.Option]) -> set[str]:
    """Keys without hidden options and without earlier spellings."""
    return {
        key
        for option in options
        if not option.hidden
        for key in keys_of(option)
        if not (isinstance(option, Renamed) and f"--{key}" in option.old)
    }


def no_such(kind: str, name: str, known: Collection[str]) -> str:
    """An error text for a name that is none of ``known``, with the name that was perhaps meant."""
    close = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
    return f"there is no {kind} {name!r}; {hint}"


def _as_click_takes_it(where: str, option: click.Option, value: Any) -> Any:
    if option.is_flag:
        if not isinstance(value, bool):
            raise BadInput(f"{where}: is {value!r}; expected true or false")
        return value
    if isinstance(value, list):
        if not option.multiple:
            raise BadInput(f"{where}: is a list; expected one value")
        return [_as_text(where, each) for each in value]
    if isinstance(value, dict):
        return Shares.written({name: _as_text(where, each) for name, each in value.items()})
    text = _as_text(where, value)
    return [text] if option.multiple else text


def _as_text(where: str, value: Any) -> str:
    """The value as it would be typed, so that 8.5 is no integer in a file either. Raises BadInput."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | datetime | date | time):
        raise BadInput(f"{where}: is {value!r}; expected a text or a number")
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)
