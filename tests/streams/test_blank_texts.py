"""A text in which nothing can be seen is blank."""

from __future__ import annotations

import pytest

from streams.messages.refusals import is_blank


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n\u00a0\u2028\u3000",
        "\u200b",
        "\u200b \u200c\u200d\u2060\ufeff",
        "\u00ad\u061c\u202e\u2066",
        "\u0000\u001b\u0085",
        "\ufe0f\u034f\U000e0100",
        "\U000e0020\U000e0041",
        "\u115f\u1160\u3164\uffa0\u2800",
        "\u0301",
    ],
)
def test_a_text_of_invisible_characters_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", " 茶 ", "\u200b7", "…", "🍵", "e\u0301", "\ue000", "\ud800"])
def test_a_text_with_one_character_that_can_be_seen_is_not(text: str) -> None:
    assert not is_blank(text)
