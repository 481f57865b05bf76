"""What all commands share: how options are given, and how help is written."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cloup

from tribrain.shell.kafka_options import KAFKA_CONFIG, named_in_environment
from tribrain.shell.option_types import Seconds
from tribrain.shell.settings_sources import CONFIG, use_sources, with_its_source

_WRITTEN = ("out", "plot")
"""Parameters that name a file to be written."""


class Command(cloup.Command):
    """Takes options from the command line, the environment and a file.

    An option that takes one value is refused if given twice; Click would silently take the last.
    """

    def __init__(self, *args: Any, params: Sequence[click.Parameter] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, params=[*(params or ()), CONFIG], **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = self._given(ctx, args)
        for option, values in given:
            # A flag given twice means the same as a flag given once.
            if len(values) > 1 and not (option.is_flag and len(set(values)) == 1):
                names = " or ".join((*option.opts, *option.secondary_opts))
                shown = "both ways" if option.is_flag else _in_words(values)
                raise click.UsageError(f"{names} is given {_times(len(values))}: {shown}; give it once", ctx)
        if not ctx.resilient_parsing:
            files = next(values for option, values in given if option.name == CONFIG.name)
            options = [param for param in self.params if isinstance(param, click.Option)]
            own = [option for option in options if option is not CONFIG]
            use_sources(ctx, own, files[0] if files else None)
        try:
            rest = super().parse_args(ctx, args)
        except click.BadParameter as error:
            raise with_its_source(ctx, error) or error from None
        self._refuse_to_replace_input(ctx)
        return rest

    def _refuse_to_replace_input(self, ctx: click.Context) -> None:
        """A file that is written must not be one that is read."""
        files = [
            (param, path)
            for param in self.get_params(ctx)
            for path in _paths(ctx.params.get(param.name or ""))
            if path.is_file()
        ]
        for written, file in [each for each in files if each[0].name in _WRITTEN]:
            place = written.get_error_hint(ctx)
            if file.name == "trace.jsonl":
                raise click.UsageError(
                    f"{file}: is a run's trace, which {place} must not replace; choose another path", ctx
                )
            for other, path in files:
                if other is not written and file.samefile(path):
                    source = other.get_error_hint(ctx)
                    raise click.UsageError(
                        f"{place} and {source} are one file, {path}; choose another for {place}", ctx
                    )

    def _given(self, ctx: click.Context, args: Sequence[str]) -> list[tuple[click.Option, list[Any]]]:
        """Every option that takes one value, with all values given for it."""
        collecting = copy.copy(self)
        collecting.params = [copy.copy(param) for param in self.params]
        single = [p for p in collecting.params if isinstance(p, click.Option) and not (p.multiple or p.count)]
        for option in single:
            option.multiple = True
        given, _, _ = collecting.make_parser(ctx).parse_args(list(args))
        return [(option, list(given.get(option.name or "", ()))) for option in single]

    def invoke(self, ctx: click.Context) -> Any:
        with named_in_environment(ctx.meta.get(KAFKA_CONFIG)):
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the example without wrapping, so that it can be copied."""
        formatter.write_paragraph()
        formatter.write_text("An option is given once, unless it says that it may be repeated.")
        if any(isinstance(option.type, Seconds) for option in self.params):
            formatter.write_text("A time is in seconds, or has a unit: 90s, 5m, 6h, 7d.")
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")


def _paths(value: object) -> list[Path]:
    """The paths among an option's values."""
    values = value if isinstance(value, tuple) else (value,)
    return [path for path in values if isinstance(path, Path)]


def _times(n: int) -> str:
    return "twice" if n == 2 else f"{n} times"


def _in_words(values: Sequence[object]) -> str:
    *others, last = map(repr, values)
    return f"{', '.join(others)} and {last}"
