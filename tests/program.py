"""The commands of the program, as tests walk through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from tribrain.cli import cli


def _commands(
    group: click.Group, context: click.Context
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = command.context_class(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            for words, each, its_context in _commands(command, below):
                yield (name, *words), each, its_context
        else:
            yield (name,), command, below


_ROOT = cli.context_class(cli, info_name="tribrain", **cli.context_settings)
_ALL = [*_commands(cli, _ROOT)]
COMMANDS: dict[tuple[str, ...], click.Command] = {words: command for words, command, _ in _ALL}
"""Every command that does something, by the words that call it."""
CONTEXTS: dict[tuple[str, ...], click.Context] = {words: context for words, _, context in _ALL}
"""What each is called in."""


def called_with(words: tuple[str, ...], arguments: Sequence[str]) -> click.Context:
    """A command's context with what ``arguments`` say; nothing is run.

    Below its group, since Click keeps for a command what the first context says of its --help.
    """
    return COMMANDS[words].make_context(words[-1], [*arguments], parent=CONTEXTS[words].parent)


def help_of(words: tuple[str, ...]) -> str:
    """A command's --help, each run of blanks as one, without colours."""
    return " ".join(click.unstyle(COMMANDS[words].get_help(CONTEXTS[words])).split())
