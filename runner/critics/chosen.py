"""The critics that the user chose for a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runner.critics.command import CommandCritic
from runner.critics.entry_point import EntryPointCritic
from runner.critics.pixel import default_critics
from runner.interfaces import AnyCritic
from streams.errors import BadInput
from streams.messages.contracts import TEXT_CRITICS

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def parse_critic(given: str) -> tuple[str, str | None]:
    """(name, command) of ``name=command``, or (name, None) of an entry point's name. Raises BadInput."""
    name, equals, command = given.partition("=")
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"a critic is given as {given!r}; expected NAME='python my_critic.py {{video}} {{prompt}}', or "
            "the NAME of an installed one, of letters, digits, - and _"
        )
    return name, command if equals else None


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
        raise BadInput("no critic is left without the pixel critics; give at least one --critic")
    return tuple(critics)
