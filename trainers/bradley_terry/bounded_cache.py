"""A dictionary for recomputable values, bounded in entries and bytes."""

from __future__ import annotations

from collections.abc import Collection
from sys import getsizeof
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_ENTRY_BYTES = 100
"""Bytes of an entry in a dictionary or a tuple."""


class BoundedCache(dict[_Key, _Value]):
    """Add entries only with ``keep``. When it is full, all other entries are dropped."""

    def __init__(self, most: int, most_bytes: int) -> None:
        super().__init__()
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0

    def keep(self, key: _Key, value: _Value, size: int) -> None:
        """Add an entry of ``size`` bytes, unless it alone exceeds the limit."""
        if size > self._most_bytes:
            return
        if len(self) >= self._most or self._bytes + size > self._most_bytes:
            self.clear()
            self._bytes = 0
        self[key] = value
        self._bytes += size


def size_of(values: Collection[object]) -> int:
    """Bytes of texts and numbers in a tuple."""
    return sum(map(getsizeof, values)) + _ENTRY_BYTES * len(values)
