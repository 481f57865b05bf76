"""What pages and notebooks say to type is a command of the program, with options that its --help lists."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from tests.docs.pages import ROOT, blocks_of, inline_codes, pages
from tests.program import COMMANDS
from tribrain.cli import cli
from tribrain.shell.renamed import Renamed

_PROGRAM = {"tribrain", "tribrain.cli"}
_IN_YAML = re.compile(r"(?:args|command): \[([^]]+)\]")
_PAGES = [page for page in pages() if page not in {"docs/LOG.md", "docs/reference/commands.md"}]
"""All but the log, which names options as they were called then, and the list of old and new ones."""
_NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
_OF_OTHERS = {
    *("--diffsynth", "--lora"),  # the programs that TriBrain starts for WoW
    *("--profile", "--user", "--write", "--resource-pattern-type", "--strict"),
}
"""Options that pages name without their program, which is not this one."""


def listed_options(command: click.Command) -> set[str]:
    """Every option that --help lists: no earlier spelling, and none that is hidden."""
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    listed = {name for each in options for name in (*each.opts, *each.secondary_opts)}
    old = {name for each in options if isinstance(each, Renamed) for name in each.old}
    return listed - old | {"--help", "-h"}


_LISTED = set().union(*map(listed_options, COMMANDS.values()))


def commands_in(line: str) -> Iterator[list[str]]:
    """The words behind the program's name, of each of its commands in a line of shell or text."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = [*lexer]
    except ValueError:  # a quote that ends on another line
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if not set(word) <= set("();<>|&"):
            command.append(word)
            continue
        named = [at for at, each in enumerate(command) if each in _PROGRAM and command[:1] != ["from"]]
        if named:
            yield command[named[0] + 1 :]
        elif any(tuple(command[:n]) in COMMANDS for n in (1, 2, 3)):
            yield command
        command = []


def assert_has_its_options(words: Sequence[str], place: str) -> None:
    """An old command may have any option that it takes, a new one those that its --help lists."""
    command: click.Command | None = cli
    names = cli.list_commands(click.Context(cli))
    # Behind these words stands the command whose options are shown.
    shows = [*words[:2]] == ["config", "show"] and {*words[2:3]} <= {*names}
    rest, is_old = [*words[2:]] if shows else [*words], False
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-") and rest[0] != "…":
        name = rest.pop(0)
        is_old = is_old or (command is cli and name not in names)
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"{place}: no command {name}"
    assert command is not None
    taken = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    for word in rest:
        if re.fullmatch(r"--?[a-z][-a-z]*(=.*)?", word):
            name = word.partition("=")[0]
            assert name in (taken if is_old else listed_options(command)), f"{place}: {name} is not listed"


@pytest.mark.parametrize("page", _PAGES)
def test_a_command_that_a_page_types_has_options_that_its_help_lists(page: str) -> None:
    for block in blocks_of(page):
        for line in block.code.splitlines():
            if (argv := _IN_YAML.search(line)) is not None:
                line = argv[1].replace(",", "")
            if block.language in {"sh", "text", "yaml", ""}:
                for words in commands_in(line):
                    assert_has_its_options(words, f"{block.place}: {line}")


@pytest.mark.parametrize("page", _PAGES)
def test_a_command_or_option_within_the_text_of_a_page_is_one_that_help_lists(page: str) -> None:
    assert_listed(inline_codes(page), page)


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=lambda path: path.name)
def test_a_command_or_option_within_the_text_of_a_notebook_is_one_that_help_lists(notebook: Path) -> None:
    for cell in json.loads(notebook.read_text())["cells"]:
        assert_listed(re.findall(r"`([^`\n]+)`", "".join(cell["source"])), notebook.name)


def assert_listed(codes: Iterator[str] | list[str], place: str) -> None:
    for code in codes:
        if (option := re.match(r"--[a-z][-a-z]*", code)) is not None:
            assert option[0] in _LISTED | _OF_OTHERS, f"{place}: {option[0]} is not listed"
        for words in commands_in(code.replace("[", "").replace("]", "")):
            assert_has_its_options(words, f"{place}: {code}")


@pytest.mark.parametrize(
    "line",
    [
        "tribrain run simulated --goal g --preference-rm R",
        "A=1 python -m tribrain.cli reward explain --model R | cat",
        "serve trainer --snapshot-every-s 10",
        "tribrain reward train --no-such-option",
    ],
)
def test_an_option_that_help_does_not_list_is_found(line: str) -> None:
    (words,) = commands_in(line)
    with pytest.raises(AssertionError, match="is not listed"):
        assert_has_its_options(words, "here")


def test_an_old_command_keeps_its_old_options() -> None:
    (words,) = commands_in("python -m tribrain.cli run-wow ... --preference-rm R --model dit-2b")
    assert_has_its_options(words, "here")
