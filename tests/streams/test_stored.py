from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streams.messages.stored import StoredMessage, stored_message


def _read(**odd: Any) -> StoredMessage:
    usual = {"topic": "t", "partition": 0, "offset": 7, "timestamp": 5, "key": b"k", "value": b"v"}
    return stored_message(SimpleNamespace(**usual | {"headers": [("h", b"1")]} | odd))


@pytest.mark.parametrize("headers", [None, (), []])
def test_no_headers_are_an_empty_tuple(headers: Any) -> None:
    assert _read(headers=headers).headers == ()


def test_a_header_without_a_value_is_empty() -> None:
    assert _read(headers=[("nth", None)]).headers == (("nth", b""),)


@pytest.mark.parametrize("timestamp", [None, -1, -86_400_000])
def test_a_time_that_was_never_set_is_1970(timestamp: int | None) -> None:
    assert _read(timestamp=timestamp).timestamp_ms == 0
