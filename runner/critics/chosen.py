"""The critics of a run, as its user names them."""

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
    """``name=command`` as name and command; an entry point's name alone, with None. Raises BadInput."""
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
    """The pixel critics, unless they are left out, and those that ``given`` names; see ``parse_critic``.

    ``timeout_s`` is the longest that each of the latter may take for a video. Raises BadInput where one
    cannot be used, has a name that another has, or there is none at all.
    """
    pixel = default_critics()
    taken = {*(critic.name for critic in pixel), *TEXT_CRITICS}
    critics: list[AnyCritic] = list(pixel if pixel_critics else ())
    for name, command in map(parse_critic, given):
        if name in taken:
            raise BadInput(f"there is a critic {name!r} already; give this one another name")
        taken.add(name)
        critics.append(
            EntryPointCritic(name, timeout_s) if command is None else CommandCritic(name, command, timeout_s)
        )
    if not critics:
        raise BadInput("without the pixel critics there is no critic; give at least one --critic")
    return tuple(critics)
