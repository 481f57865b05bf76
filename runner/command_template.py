"""Command lines of other programs: split first, then filled in with values, without a shell."""

from __future__ import annotations

import shlex
import shutil
import string
from collections.abc import Collection, Mapping, Sequence

from streams.errors import BadInput


class CommandTemplate:
    """A command such as ``python gen.py --prompt {prompt} --out {out_dir}``.

    Each value stays within one argument. ``{{`` and ``}}`` stand for braces. ``whose`` names the command's
    owner in messages: "the generator". ``places`` are the names allowed in braces; those in ``required`` must
    be used. Raises BadInput if the command cannot be split, has an unknown place, lacks a required one, or
    names a program that does not exist.
    """

    def __init__(
        self, command: str, *, whose: str, places: Sequence[str], required: Collection[str] = ()
    ) -> None:
        try:
            arguments = tuple(shlex.split(command))
            parts = [part for argument in arguments for part in string.Formatter().parse(argument)]
        except ValueError as error:
            raise BadInput(f"{whose}'s command cannot be read: {error}: {command}") from None
        self.used = frozenset(name for _, name, _, _ in parts if name is not None)
        """The places that the command uses."""
        allowed = ", ".join(f"{{{name}}}" for name in places)
        for _, name, spec, conversion in parts:
            if name is not None and (name not in places or spec or conversion):
                raise BadInput(f"{whose}'s command has {{{name}}}; it may have {allowed} ({{{{ for a brace)")
        if not arguments:
            raise BadInput(f"{whose}'s command is empty; expected a program and its arguments")
        for name in required:
            if name not in self.used:
                raise BadInput(f"{whose}'s command lacks {{{name}}}; it may have {allowed}: {command}")
        if "{" not in arguments[0] and shutil.which(arguments[0]) is None:
            raise BadInput(f"{whose}: {arguments[0]!r} is not a program that can be run; check its path")
        self._arguments = arguments

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """The arguments with ``values`` in their places."""
        return [argument.format_map(values) for argument in self._arguments]
