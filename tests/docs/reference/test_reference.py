"""The pages that are made from the code are current, and leave nothing out."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, text_of
from tests.docs.reference.__main__ import files
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
