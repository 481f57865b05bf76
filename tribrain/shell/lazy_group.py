"""Groups of commands: a command's module is imported only when it is called, so that ``--help`` is quick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import click
import cloup
from click.shell_completion import CompletionItem
from cloup.formatting import HelpSection

from tribrain.shell.group import Group


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of the program."""

    name: str
    """Its words below the program's name, e.g. ``run simulated``."""
    target: str
    """``module:attribute``."""
    summary: str
    """One line for listings."""
    old_name: str | None = None
    """An earlier name, which works and is not listed."""

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class LazyGroup(Group):
    """A group made from a table: commands of one word, and groups for those of two words.

    ``groups`` maps the first words of the latter to a line about each.
    """

    def __init__(
        self, *args: Any, entries: Iterable[Entry], groups: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._entries = {entry.name: entry for entry in entries}
        self._old = {entry.old_name: entry for entry in self._entries.values() if entry.old_name}
        self._single = {name: entry.summary for name, entry in self._entries.items() if " " not in name}
        self._groups = {name: self._group(name, summary) for name, summary in groups.items()}

    def _group(self, group: str, summary: str) -> LazyGroup:
        names = [name for name in self._entries if name.startswith(f"{group} ")]
        entries = [
            replace(self._entries[name], name=name.removeprefix(f"{group} "), old_name=None) for name in names
        ]
        return LazyGroup(name=group, help=summary, short_help=summary, entries=entries, groups={})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._single, *self._groups]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._groups:
            return self._groups[cmd_name]
        entry = self._entries.get(cmd_name) or self._old.get(cmd_name)
        return entry.load() if entry is not None else None

    def called(self, words: Sequence[str]) -> tuple[str, ...]:
        """``words`` with a command's current name in place of an old one; what follows the name stays."""
        entry = self._old.get(words[0]) if words else None
        return (*(entry.name.split() if entry is not None else words[:1]), *words[1:])

    def tables(self) -> list[str]:
        """The first words of all commands."""
        return [*self._single, *self._groups]

    def full_names(self) -> list[list[str]]:
        """The words of every command."""
        return [name.split() for name in self._entries]

    def suggestions(self) -> Mapping[str, str]:
        """Old names and last words of names, each to the whole name; whole names to themselves."""
        of_last_words = {name.rpartition(" ")[2]: name for name in reversed(self._entries)}
        of_old = {old: entry.name for old, entry in self._old.items()}
        return of_last_words | of_old | {name: name for name in (*self._single, *self._groups)}

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        summaries = self._single | {name: group.help or "" for name, group in self._groups.items()}
        names = [name for name in summaries if name.startswith(incomplete)]
        completed = [CompletionItem(name, help=summaries[name]) for name in names]
        return completed + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        assert isinstance(formatter, cloup.HelpFormatter)
        sections = []
        if self._single:
            sections.append(HelpSection("Commands", list(self._single.items())))
        if self._groups:
            groups = [(name, group.help or "") for name, group in self._groups.items()]
            sections.append(HelpSection("Groups of commands", groups))
        formatter.write_many_sections(sections)
