"""How an error states a number."""

from __future__ import annotations

import pytest

from streams.errors import counted


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0 votes"), (1, "1 vote"), (2, "2 votes"), (1_200, "1,200 votes")]
)
def test_a_number_of_things_is_said_in_the_plural_unless_it_is_one(n: int, said: str) -> None:
    assert counted(n, "vote") == said
