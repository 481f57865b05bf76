"""Forgotten names, which are still recognised as known.

A Bloom filter (Bloom 1970, "Space/time trade-offs in hash coding with allowable errors"): it never takes a
forgotten name for a new one. It takes a new name for a forgotten one in one of 60 cases after 100,000 names,
one of 12 after 200,000, and one of 5 after 300,000.
"""

from __future__ import annotations

import base64

_BITS = 20
_BYTES = (1 << _BITS) // 8
"""128 KiB, once anything was forgotten."""
_MASK = (1 << _BITS) - 1


class ForgottenNames:
    """A set of names, given as 16 hexadecimal digits of a hash, in a fixed number of bytes."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, name: str) -> bool:
        bits = self._bits
        return bool(bits) and all(bits[at >> 3] & (1 << (at & 7)) for at in _places(name))

    def add(self, name: str) -> None:
        """Add a name, which is never removed."""
        if not self._bits:
            self._bits = bytearray(_BYTES)
        bits = self._bits
        for at in _places(name):
            bits[at >> 3] |= 1 << (at & 7)

    def take_in(self, later: ForgottenNames) -> None:
        """Add all names of another."""
        if later._bits:
            both = int.from_bytes(self._bits, "big") | int.from_bytes(later._bits, "big")
            self._bits = bytearray(both.to_bytes(_BYTES, "big"))

    def copy(self) -> ForgottenNames:
        """A separate set with the same names."""
        copied = ForgottenNames()
        copied._bits = bytearray(self._bits)
        return copied

    def state(self) -> str:
        """The argument of ``from_state``; empty if nothing was forgotten."""
        return base64.b64encode(self._bits).decode()

    @classmethod
    def from_state(cls, state: str) -> ForgottenNames:
        """The names with this state. Raises ValueError."""
        names = cls()
        names._bits = bytearray(base64.b64decode(state, validate=True))
        if len(names._bits) not in (0, _BYTES):
            raise ValueError(f"forgotten names take {len(names._bits)} bytes; expected {_BYTES}")
        return names


def _places(name: str) -> tuple[int, int, int]:
    """Three numbers below 2 to the power ``_BITS``, of 60 of the 64 bits of a hash."""
    bits = int(name, 16)
    return bits & _MASK, bits >> _BITS & _MASK, bits >> 2 * _BITS & _MASK
