"""Dicts, lists, texts and numbers as readable YAML; texts but plain words are quoted, as in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_OTHER_MEANING = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def as_yaml(value: object, comment: str) -> bytes:
    """``value`` as one YAML document, after a line of comment."""
    return (f"# {comment}\n" + "\n".join(_lines(value)) + "\n").encode()


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _entry(f"{_scalar(key)}:", entry)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for entry in value:
            first, *others = _lines(entry)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
    else:
        yield _scalar(value)


def _entry(key: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple) and value:
        yield key
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{key} {_scalar(value)}"


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _OTHER_MEANING:
        return value
    return json.dumps(value, ensure_ascii=False)
