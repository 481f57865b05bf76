"""``tribrain config``: where the options of a command come from."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import click
import orjson

from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.group import Group
from tribrain.shell.settings_sources import CONFIG, source_of, value_of


@click.group(cls=Group, epilog="Example: tribrain config show run simulated --config lab.toml")
def config() -> None:
    """Show the options that a command would run with."""


@config.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: tribrain config show run simulated --config lab.toml --iters 4",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@options.as_json
@click.pass_context
def show(ctx: click.Context, command: tuple[str, ...], as_json: bool) -> None:
    """Show each option of COMMAND with its value and where it comes from; nothing is run.

    COMMAND is written as it would be called, with or without its options. The command line overrides
    the environment, which overrides a file given by --config or TRIBRAIN_CONFIG.
    """
    target = _parsed(ctx.find_root(), command)
    rows = [
        _row(target, option)
        for option in target.command.params
        if isinstance(option, click.Option) and not option.hidden and option.name != CONFIG.name
    ]
    name = target.command_path.partition(" ")[2]
    if as_json:
        click.echo(orjson.dumps({"command": name, "options": rows}, default=str))
        return
    click.echo(name)
    table = [(row["option"], _in_words(row), f"{row['source']} {row['place']}".strip()) for row in rows]
    width = max(len(option) for option, _, _ in table)
    for option, value, source in table:
        click.echo(f"  {option:{width}}  {value}  ({source})")


def _parsed(root: click.Context, words: Sequence[str]) -> click.Context:
    """The context of the command that ``words`` call; what it requires may be missing."""
    context, command, rest = root, root.command, list(words)
    while isinstance(command, click.Group):
        if not rest or rest[0].startswith("-"):
            raise click.UsageError(f"{context.command_path} is a group; name one of its commands", context)
        name, found, rest = command.resolve_command(context, rest)
        if found is None or name is None:
            raise click.UsageError(f"no such command: {' '.join(words)}", context)
        command = found
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=context)
    lenient = copy.copy(command)
    lenient.params = [copy.copy(param) for param in command.params]
    for param in lenient.params:
        param.required = False
    parsed = lenient.make_context(name, rest, parent=context)
    parsed.command = command
    return parsed


def _row(ctx: click.Context, option: click.Option) -> dict[str, Any]:
    value = value_of(ctx, option)
    source, place = source_of(ctx, option)
    if option.required and value in (None, ()):
        source = "missing"
    # What the command does without a value, where its help says so.
    instead = option.show_default if isinstance(option.show_default, str) else ""
    return {"option": _long(option), "value": value, "source": source, "place": place, "instead": instead}


def _long(option: click.Option) -> str:
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


def _in_words(row: Mapping[str, Any]) -> str:
    value = row["value"]
    if value is None or value == () or value == {}:
        return row["instead"] or "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={each:g}" for name, each in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
