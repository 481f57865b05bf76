"""The critics that the user chose for a run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

from runner.critics.command import CommandCritic
from runner.critics.entry_point import EntryPointCritic
from runner.critics.pixel import default_critics
from runner.interfaces import AnyCritic
from streams.errors import BadInput
from streams.messages.contracts import TEXT_CRITICS
from streams.messages.limits import MAX_NAME_CHARS

_GIVEN = re.compile(r'(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<name>(?!")[^=]*))(?:=(?P<command>.*))?', re.DOTALL)
"""A name in double quotes (doubled for one within it) may hold an equals sign."""


def parse_critic(given: str) -> tuple[str, str | None]:
    """(name, command) of ``name=command`` or ``"na=me"=command``, or (name, None) of an entry point's name.

    Raises BadInput.
    """
    found = _GIVEN.fullmatch(given)
    quoted, plain, command = found.groups() if found else (None, "", None)
    name = quoted.replace('""', '"') if quoted is not None else plain
    if not (name and name.isprintable() and name == name.strip() and len(name) <= MAX_NAME_CHARS):
        raise BadInput(
            f"a critic is given as {given!r}; expected NAME='python my_critic.py {{video}} {{prompt}}', or "
            f"the NAME of an installed one, of at most {MAX_NAME_CHARS} printable characters"
        )
    if command is not None and quoted is None:
        program = command.split(maxsplit=1)[:1]
        if program and "=" in program[0] and shutil.which(program[0]) is None:
            raise BadInput(
                f"the critic {name}'s program would be {program[0]!r}, which cannot be run; if the = belongs "
                f"to the name, put the name in double quotes: --critic '\"det.AP@IoU=0.50\"=COMMAND'"
            )
    return name, command


def chosen_critics(
    given: Sequence[str], *, pixel_critics: bool = True, timeout_s: float
) -> tuple[AnyCritic, ...]:
    """The pixel critics, unless they are left out, and the critics named in ``given``; see ``parse_critic``.

    ``timeout_s`` limits the time per video of each critic in ``given``. Raises BadInput if a critic cannot be
    used, if two share a name, or if no critic is left.
    """
    pixel = default_critics()
    taken = {*(critic.name for critic in pixel), *TEXT_CRITICS}
    critics: list[AnyCritic] = list(pixel if pixel_critics else ())
    for name, command in map(parse_critic, given):
        if name in taken:
            raise BadInput(f"a critic {name!r} already exists; give this one another name")
        taken.add(name)
        critics.append(
            EntryPointCritic(name, timeout_s) if command is None else CommandCritic(name, command, timeout_s)
        )
    if not critics:
        raise BadInput(
            "no critic is left without the pixel critics; give --critic NAME='COMMAND', or leave out "
            "--no-pixel-critics"
        )
    return tuple(critics)
