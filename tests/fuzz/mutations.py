"""Real messages made wrong, a little or altogether; the same seed makes the same."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import orjson

from streams.messages.limits import MAX_DEPTH, MAX_ID_CHARS, MAX_NUMBER

_TOKENS = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-0", b"1E5", b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xff"',
    b"\xef\xbb\xbf", b"null", b"{}", b"[[", b"]]", b",", b'"', b"\\", b"\0", b"\n", b"[" * 2_000,
    # Deeper than Python writes, and not deeper than orjson reads.
    b"[" * 1_000 + b"]" * 1_000, b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    b'"schema":"tribrain.trace/1",', b'"schema":"tribrain.rollback/1",', b'"extras":{"run_id":"x"},',
)  # fmt: skip
_MARK = '"@token %d@"'
_COLLECTED = 400
"""Places of a message among which one is chosen."""


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else []


_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**53 + 1, 2**62, 2**63, 2**64 - 1, -(2**63), 99_999, 100_000,
    0.0, -0.0, 0.5, 1.0, 1.0000001, -1e-320, 1e-9, MAX_NUMBER, -MAX_NUMBER, 1e6 + 1, -999.0, 1e15, 1e200,
    "", " ", "null", "0.5", "x" * MAX_ID_CHARS, "x" * (MAX_ID_CHARS + 1), "é\0\n", "\u2028", "a=b", "@a=b",
    "bench-0-00000", "critic", "human", "proxy", "best_vs_rest", "tribrain.pair/1",
    [], {}, [[]], {"": ""}, {"a": {"b": []}}, [1, 2, 3], {"score": 2}, {"score": 0.5}, {"score": None},
    {"arm": "physics", "cost": 1e6}, {"cost": 1e300}, _nested(MAX_DEPTH - 2), _nested(MAX_DEPTH + 5),
    _nested(300), list(range(50)), {f"n{i}.m": i / 20 for i in range(20)}, {f"n{i}": 0.5 for i in range(600)},
)  # fmt: skip
_ENCODED = tuple(msgspec.json.encode(value) for value in _VALUES)


class Mutator:
    """Makes mutations of ``originals``; ``random`` decides all of it."""

    def __init__(self, random: Random, originals: Sequence[bytes]) -> None:
        self._random = random
        self._originals = originals

    def mutate(self, raw: bytes) -> bytes:
        """The message with a few things changed; mostly it is JSON still."""
        random = self._random
        if random.random() < 0.25:
            return self.of_bytes(raw)
        try:
            obj = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return self.of_bytes(raw)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            self._change(obj)
        return self._with_tokens(msgspec.json.encode(obj))

    def mutate_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """A learner's state with one thing changed; its tokens stay texts."""
        copy = orjson.loads(orjson.dumps(state, option=orjson.OPT_SERIALIZE_NUMPY))
        self._change(copy)
        return copy if isinstance(copy, dict) else {}

    def of_bytes(self, raw: bytes) -> bytes:
        """The message with bytes changed anywhere."""
        random = self._random
        first, last = sorted(random.randrange(len(raw) + 1) for _ in range(2))
        how = random.randrange(6)
        if how == 0:
            return raw[:first]
        if how == 1:
            return raw[:first] + raw[last:]
        if how == 2:
            return raw[:last] + raw[first:]
        if how == 3:
            return raw[:first] + bytes([random.randrange(256)]) + raw[first + 1 :]
        if how == 4:
            return raw[:first] + random.choice(_TOKENS) + raw[first:]
        return raw[:first] + random.choice(self._originals)[first:]

    def _change(self, obj: Any) -> None:
        random = self._random
        container, key = random.choice(_places(obj))
        how = random.randrange(8)
        if how == 0 and isinstance(container, dict):
            del container[key]
        elif how == 1 and isinstance(container, dict):
            container[_name(self._value())] = container.pop(key)
        elif how == 2 and isinstance(container, dict):
            container[_name(self._value())] = self._value()
        elif how == 3:
            other, theirs = random.choice(_places(orjson.loads(random.choice(self._originals))))
            container[key] = other[theirs]
        elif how == 4:
            container[key] = _MARK[1:-1] % random.randrange(len(_TOKENS))
        elif how == 5 and isinstance(container[key], float):
            container[key] *= random.choice((-1.0, 0.5, 2.0, 1e3, 1e7))
        elif how == 6 and isinstance(container[key], int | str):
            container[key] = container[key] * 2
        else:
            container[key] = self._value()

    def _value(self) -> Any:
        return msgspec.json.decode(self._random.choice(_ENCODED))

    def _with_tokens(self, raw: bytes) -> bytes:
        if b'"@token ' in raw:
            for number, token in enumerate(_TOKENS):
                raw = raw.replace((_MARK % number).encode(), token)
        return raw


def _places(obj: Any) -> list[tuple[Any, Any]]:
    """Containers with a key or an index in them, of all depths, outermost first."""
    places: list[tuple[Any, Any]] = []
    containers = [{"": obj}]
    for container in containers:
        for key in container if isinstance(container, dict) else range(len(container)):
            if container is not containers[0]:
                places.append((container, key))
            if isinstance(container[key], dict | list) and len(places) < _COLLECTED:
                containers.append(container[key])
    return places or [({"": obj}, "")]


def _name(value: Any) -> str:
    return value if isinstance(value, str) else str(value)[:40]
