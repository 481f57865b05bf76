"""Nothing that a page says to type is left out of the tests, and what it names is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

from runner.instructions import UNDERSTOOD
from tests.docs.pages import ROOT, blocks_of, pages, prose_of, text_of
from tests.docs.plan import ELSEWHERE, NOT_RUN, READINGS, WITH_DOCKER
from tests.docs.reader import LASTING, kind_of, lines_of
from tests.program import COMMANDS

_RUN = {"sh", "python"}
_LINK = re.compile(r"\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ (.+)$", flags=re.MULTILINE)
_PROGRAM = ("tribrain", "python -m tribrain.cli")


@pytest.mark.parametrize("page", pages())
def test_a_block_is_in_a_language_that_is_run_or_never_is(page: str) -> None:
    for block in blocks_of(page):
        assert block.language in _RUN | NOT_RUN, block.place
        assert block.title is None or block.language in {"python", "toml"}, block.place


def test_every_page_with_something_to_run_is_read_by_a_test_and_no_other() -> None:
    with_something = {page for page in pages() for block in blocks_of(page) if block.language in _RUN}
    assert {*READINGS, *WITH_DOCKER} == with_something


def test_what_other_tests_run_is_there_with_these_tests() -> None:
    lines = [line for page in READINGS for line in lines_of(blocks_of(page), lambda _: True)]
    for beginning, file in ELSEWHERE.items():
        assert any(line.startswith(beginning) for line in lines), beginning
        assert (ROOT / file).is_file(), file


def test_every_page_with_a_command_of_docker_is_read_by_the_tests_of_the_stack() -> None:
    with_docker = [page for page in pages() if lines_of(blocks_of(page), lambda line: "docker " in line)]
    assert with_docker == list(WITH_DOCKER)


def test_what_lasts_or_is_run_elsewhere_begins_its_line() -> None:
    for page in READINGS:
        for line in lines_of(blocks_of(page), lambda line: kind_of(line) == "here"):
            words = ("docker ", *LASTING, *ELSEWHERE)
            assert not any(f" {word}" in line for word in words), f"{page}: {line}"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_of_the_program_is_on_its_page_and_on_another_one(words: tuple[str, ...]) -> None:
    name = " ".join(words)
    assert f"\n## tribrain {name}\n" in text_of("docs/reference/commands.md")
    everything = "".join(text_of(page) for page in pages() if page != "docs/reference/commands.md")
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", everything)


@pytest.mark.parametrize("page", pages())
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(page: str) -> None:
    for target in ("".join(found) for found in _LINK.findall(prose_of(page))):
        if re.match(r"https?://", target):
            continue
        file, _, heading = target.partition("#")
        path = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert path.is_relative_to(ROOT / "docs" if page.startswith("docs/") else ROOT), f"{page}: {target}"
        assert path.is_file(), f"{page}: {target}"
        if heading:
            assert heading in slugs(path), f"{page}: {target}"


def slugs(path: Path) -> set[str]:
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", each) for each in _HEADING.findall(path.read_text())]
    return {slugify(each, "-") for each in plain}


def test_every_test_that_a_page_names_is_there() -> None:
    named = [
        name
        for page in pages()
        for name in re.findall(r"`(?:tests/)?((?:[a-z_]+/)*test_[a-z_]+\.py)`", text_of(page))
    ]
    assert named
    for name in named:
        assert any((ROOT / "tests" / folder / name).is_file() for folder in ("", "faults")), name


def test_every_page_is_in_the_navigation_once() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = list(listed_in(site["nav"]))
    assert sorted(listed) == [page.removeprefix("docs/") for page in pages() if page.startswith("docs/")]


def listed_in(nav: list[dict[str, object]]) -> Iterator[str]:
    for entry in nav:
        for target in entry.values():
            if isinstance(target, list):
                yield from listed_in(target)
            else:
                yield str(target)


def test_the_goals_that_goal_reached_understands_are_listed() -> None:
    assert "\n".join(UNDERSTOOD) in [block.code.rstrip() for block in blocks_of("docs/how-to/critics.md")]


def test_the_readme_stays_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 150
