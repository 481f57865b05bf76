"""What all groups of commands share."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import click
import cloup
from cloup import Section
from cloup.formatting import HelpSection

_WHOLE = 1_000
"""Characters of a summary; none is as long."""


class Group(cloup.Group):
    """Answers a mistyped name with the nearest one, and lists commands before options."""

    def suggestions(self) -> Mapping[str, str]:
        """Names that a mistyped one is compared with, each to the name to propose."""
        return {name: name for name in self.commands}

    def handle_bad_command_name(
        self, bad_name: str, valid_names: list[str], error: click.UsageError
    ) -> click.UsageError:
        suggestions = self.suggestions()
        close = get_close_matches(bad_name, suggestions, n=1)
        hint = f"; did you mean {suggestions[close[0]]!r}?" if close else ""
        return click.UsageError(f"no such command: {bad_name!r}{hint}", error.ctx)

    def make_commands_help_section(self, ctx: click.Context, section: Section) -> HelpSection | None:
        """The commands with whole summaries, on several lines if long; cloup would keep only the first."""
        commands = [(name, command.get_short_help_str(_WHOLE)) for name, command in section.list_commands()]
        return HelpSection(section.title, commands) if commands else None

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_commands(ctx, formatter)
        self.format_params(ctx, formatter)
        self.format_epilog(ctx, formatter)
