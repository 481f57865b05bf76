"""The pages that are made from the code are current, and leave nothing out."""

from __future__ import annotations

import inspect
import re

import markdown
import pytest

import tribrain
from tests.docs.pages import ROOT, text_of
from tests.docs.reference.__main__ import files
from tests.docs.reference.markdown import table
from tests.docs.reference.python import SECTIONS, attributes_of, callables_of
from tests.docs.reference.settings import VARIABLES

_FOR_TESTS = {"TRIBRAIN_FAIL_POINT"}
_BEGINNINGS = {"TRIBRAIN_KAFKA_"}
_OF_THE_STACK = {"TRIBRAIN_DEMO_ITERS"}


@pytest.mark.parametrize("name", files())
def test_what_is_in_the_repository_is_what_the_code_gives(name: str) -> None:
    assert text_of(name) == files()[name], "run python -m tests.docs.reference"


def test_every_variable_of_the_environment_is_explained() -> None:
    code = [
        path.read_text()
        for package in ("streams", "trainers", "runner", "tribrain")
        for path in (ROOT / package).rglob("*.py")
    ]
    named = set(re.findall(r'"(TRIBRAIN_[A-Z_]+)"', "\n".join(code)))
    assert named - _FOR_TESTS - _BEGINNINGS - _OF_THE_STACK == VARIABLES.keys()


def test_every_variable_of_the_stack_is_on_its_page() -> None:
    given = "".join(path.read_text() for path in (ROOT / "compose").glob("*.yaml"))
    page = text_of("docs/how-to/stack.md")
    for name in set(re.findall(r"\$\{(TRIBRAIN_[A-Z_]+)", given)):
        assert f"`{name}`" in page, name


def test_every_public_name_has_a_section_on_the_page_on_python() -> None:
    listed = [name for section in SECTIONS.values() for name in section]
    assert sorted(listed) == tribrain.__all__
    headings = re.findall(r"^### `?(\w+)`?$", text_of("docs/reference/python.md"), flags=re.MULTILINE)
    assert headings == listed


_CALLABLES = {heading: one for name in tribrain.__all__ for heading, one in callables_of(name).items()}


@pytest.mark.parametrize("heading", _CALLABLES)
def test_a_docstring_explains_every_argument(heading: str) -> None:
    one = _CALLABLES[heading]
    given = inspect.signature(one).parameters.keys() - {"self"}
    explained = set(re.findall(r"``(\w+)``", inspect.getdoc(one) or ""))
    assert given - explained == set()


@pytest.mark.parametrize("name", tribrain.__all__)
def test_every_attribute_says_what_it_is(name: str) -> None:
    assert [each for each, said in attributes_of(name).items() if not said] == []


def test_every_type_that_is_not_public_is_explained() -> None:
    _, _, types = text_of("docs/reference/python.md").partition("## Types")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", types, flags=re.MULTILINE)
    assert {"Comparisons", "Frames", "Winner"} <= {name for name, _, _ in rows}
    assert [name for name, _, said in rows if not said] == []


def test_a_bar_in_a_cell_divides_nothing_and_shows_as_it_is() -> None:
    made = markdown.markdown(table(["a"], [["`int | <b>` or x|y, `z`"]]), extensions=["tables"])
    assert "<td><code>int &#124; &lt;b&gt;</code> or x|y, <code>z</code></td>" in made
