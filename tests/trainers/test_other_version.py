from __future__ import annotations

import pytest

from streams.errors import BadInput
from trainers.other_version import reading_state_of


def test_a_state_that_is_not_as_expected_is_bad_input() -> None:
    with (
        pytest.raises(BadInput, match=r"^version 7 was written by another version .* \(ValueError: odd\)"),
        reading_state_of("version 7"),
    ):
        raise ValueError("odd")


def test_bad_input_is_passed_on_as_it_is() -> None:
    with pytest.raises(BadInput, match=r"^too many tasks$"), reading_state_of("version 7"):
        raise BadInput("too many tasks")
