"""The page on commands: every command with its options, as its --help has them, and the exit codes."""

from __future__ import annotations

from collections.abc import Iterator

import click
import cloup

from tests.docs.reference.attributes import said_of_constants
from tests.docs.reference.markdown import code, from_rest, plain, table
from tests.program import COMMANDS, CONTEXTS
from tribrain import cli
from tribrain.shell import exit_codes
from tribrain.shell.renamed import Renamed

_PAGE = """# Commands

This page is made from the code by `python -m tests.docs.reference`; `COMMAND --help` says the same.
`tribrain …` and `python -m tribrain.cli …` are the same program. An option is given once, unless it says that
it may be repeated. Every command also takes its options from variables and from a file given by `--config`:
[Configure a command](../how-to/configure.md).

"""
_EXIT_CODES = """
## Exit codes

The last line on standard error says why.

"""
_OLD_NAMES = """
## Old names

Earlier versions had commands of one word. They work as they did, and are not listed.

"""
_OLD_OPTIONS = """

Some options had other names. They work as well, with the old and the new name of the command.

"""
_MEANINGS = {
    "FAILED": "Something failed, or a check found something wrong.",
    "BAD_INPUT": "Bad input. The line says what was found, what is needed and what to do.",
    "INTERRUPTED": "It was interrupted.",
}
"""Of the codes that the source leaves to their names."""


def commands_page() -> str:
    listing = [
        [_link(words), plain(command.get_short_help_str(200))]
        for words, command in COMMANDS.items()
        if not command.hidden
    ]
    parts = [_PAGE, table(["command", ""], listing), "\n"]
    parts += [_section(words, command) for words, command in COMMANDS.items() if not command.hidden]
    old = [[code(each.old_name), code(each.name)] for each in cli.COMMANDS if each.old_name is not None]
    said = said_of_constants(exit_codes)
    codes = [["0", "Done."]]
    codes += [
        [str(getattr(exit_codes, name)), _MEANINGS.get(name) or from_rest(text)]
        for name, text in said.items()
    ]
    parts += [_EXIT_CODES, table(["code", ""], codes), "\n", _OLD_NAMES, table(["old name", "new name"], old)]
    parts += [_OLD_OPTIONS, table(["old option", "new option", "of"], _old_options())]
    return "".join([*parts, "\n"])


def _old_options() -> Iterator[list[str]]:
    """Each earlier spelling once, with the one that --help lists, and the commands that take it."""
    commands: dict[tuple[str, str], list[str]] = {}
    for words, command in COMMANDS.items():
        for option in command.params:
            if isinstance(option, Renamed):
                listed = next(name for name in option.opts if name not in option.old)
                for old in option.old:
                    commands.setdefault((old, listed), []).append(code(" ".join(words)))
    for (old, listed), named in sorted(commands.items()):
        yield [code(old), code(listed), ", ".join(named)]


def _link(words: tuple[str, ...]) -> str:
    name = " ".join(("tribrain", *words))
    return f"[{code(name)}](#{name.replace(' ', '-')})"


def _section(words: tuple[str, ...], command: click.Command) -> str:
    context = CONTEXTS[words]
    name = " ".join(("tribrain", *words))
    parts = [
        f"\n## {name}\n",
        f"{plain(from_rest((command.help or '').replace(chr(8), '')))}\n",
        f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n",
    ]
    for title, parameters in _sections_of_options(command, context):
        records = [parameter.get_help_record(context) for parameter in parameters]
        rows = [[code(" ".join(names.split())), plain(said)] for names, said in filter(None, records)]
        if rows:
            parts += [table([title, ""], rows), ""]
    if command.epilog:
        parts += [plain(from_rest(command.epilog)), ""]
    return "\n".join(parts)


def _sections_of_options(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, list[click.Parameter]]]:
    """Titles with what stands below them; --help is said once for all."""
    if isinstance(command, cloup.Command) and command.option_groups:
        for group in command.option_groups:
            yield group.title, list(group.options)
        yield "Other options", [each for each in command.ungrouped_options if each.name != "help"]
        return
    yield "Option", [each for each in command.get_params(context) if each.name != "help"]
