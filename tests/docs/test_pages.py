"""What a page says to type is typed, in its order, and works."""

from __future__ import annotations

import pytest

from tests.docs.conftest import Read
from tests.docs.plan import READINGS

_PAGES = [
    pytest.param(page, id=page, marks=[pytest.mark.long] if reading.is_long else [])
    for page, reading in READINGS.items()
]


@pytest.mark.parametrize("page", _PAGES)
def test_every_command_and_every_line_of_python_of_the_page_runs(page: str, read: Read) -> None:
    assert read(page).is_dir()
