"""What all groups of commands share."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import click
import cloup


class Group(cloup.Group):
    """Answers a mistyped name with the nearest one, and lists commands before options."""

    def suggestions(self) -> Mapping[str, str]:
        """What may be typed by mistake for something near it, and what to propose then."""
        return {name: name for name in self.commands}

    def handle_bad_command_name(
        self, bad_name: str, valid_names: list[str], error: click.UsageError
    ) -> click.UsageError:
        suggestions = self.suggestions()
        close = get_close_matches(bad_name, suggestions, n=1)
        hint = f"; did you mean {suggestions[close[0]]!r}?" if close else ""
        return click.UsageError(f"no such command: {bad_name!r}{hint}", error.ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_commands(ctx, formatter)
        self.format_params(ctx, formatter)
        self.format_epilog(ctx, formatter)
