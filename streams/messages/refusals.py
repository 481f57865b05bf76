"""Errors for refused messages, with the field, what was found and what is needed."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, NoReturn, cast

import msgspec
from msgspec import inspect

from streams.errors import BadInput

_LONGEST_SHOWN = 80
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and a symbol that are drawn as blanks."""
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.?([^.\[]+)")


class ContractError(BadInput):
    """A message or a line that violates its contract."""

    reason: ClassVar[str] = "damaged"
    """The reason in two words, by which refusals are counted."""


class NotFinite(ContractError):
    """A number that is NaN or infinite."""

    reason = "not finite"


class OtherModel(ContractError):
    """A snapshot of another reward model, or of another kind, than expected."""

    reason = "other model"


class OtherFeatures(ContractError):
    """A snapshot whose weights do not match its named features, or that weighs none of the wanted
    features."""

    reason = "other features"


def shown(value: object) -> str:
    """The value's ``repr``, shortened."""
    try:
        text = repr(value) if not isinstance(value, str | bytes) else repr(value[: _LONGEST_SHOWN + 1])
    except RecursionError:  # JSON may be nested deeper than repr() can write
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: it has no letter, digit, mark of punctuation or symbol.

    >>> is_blank(" \\u200b\\ufe0f"), is_blank("…")
    (True, False)
    """
    # Surrogates are refused elsewhere, as no valid Unicode; private characters may have a glyph.
    return not any(
        unicodedata.category(character)[0] in "LNPS" or unicodedata.category(character) in ("Co", "Cs")
        for character in text
        if character not in _BLANK_LETTERS
    )


def nearest(found: str, expected: Iterable[str]) -> str | None:
    """The expected name that was probably meant, whatever its case and surrounding spaces, or None."""
    folded = {name.strip().casefold(): name for name in expected}
    close = get_close_matches(found.strip().casefold(), folded, n=1)
    return folded[close[0]] if close else None


def in_words(error: msgspec.ValidationError, obj: Any, convert: Callable[[], object], contract: type) -> str:
    """msgspec's ``Expected `float` <= 1.0 - at `$.scores[...]``` with the field first, and what was found.

    ``convert`` must fail as long as the wrong entry is in ``obj``. To find an entry that msgspec writes as
    ``...``, all others are removed from ``obj``. ``contract`` defines what a field of few values may be.
    """
    what, _, where = str(error).partition(" - at `")
    what = what.replace("Object missing required field", "a required field is missing:")
    _, in_key, path = where.rpartition("key` in `")
    field, keys = "", list[str | int]()
    for index, name in _STEP.findall(path.strip("$`")):
        if index == "...":
            name = _at_fault(obj, convert)
            if name is None:
                return f"{field}[...]: {what}"
        key: Any = int(index) if index.isdecimal() else name
        field += f"[{index}]" if index.isdecimal() else f".{name}"
        obj = obj[key] if isinstance(obj, dict | list) else None
        keys.append(key)
    field = field.lstrip(".")
    if in_key:
        return f"{field}: {what}, as a name in it"
    if not field:
        return what
    if what.startswith("Invalid enum value"):
        return f"{field}: {not_allowed(obj, _values_at(keys, contract))}"
    return f"{field}: {what}, found {shown(obj)}"


def not_allowed(found: object, allowed: Sequence[str]) -> str:
    """The error for a field of few values: those allowed, the one found, and the one probably meant."""
    close = nearest(found, allowed) if isinstance(found, str) else None
    hint = f": did you mean {shown(close)}?" if close else ""
    return f"expected one of {', '.join(allowed)}; found {shown(found)}{hint}"


def _values_at(keys: Iterable[str | int], contract: type) -> list[str]:
    """The values that the field at ``keys`` of a contract may have."""
    kinds: list[inspect.Type] = list(_alternatives([inspect.type_info(contract)]))
    for key in keys:
        kinds = list(_alternatives(inner for kind in kinds for inner in _inside(kind, key)))
    values = [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
    return values + ["null"] * any(isinstance(kind, inspect.NoneType) for kind in kinds)


def _alternatives(kinds: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    for kind in kinds:
        if isinstance(kind, inspect.UnionType):
            yield from _alternatives(kind.types)
        elif isinstance(kind, inspect.Metadata):
            yield from _alternatives([kind.type])
        else:
            yield kind


def _inside(kind: inspect.Type, key: str | int) -> Iterator[inspect.Type]:
    """The kinds of a field or an entry, named ``key``, of a value of this kind."""
    if isinstance(kind, inspect.StructType):
        yield from (field.type for field in kind.fields if field.encode_name == key)
    elif isinstance(kind, inspect.DictType):
        yield kind.value_type
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType):
        yield kind.item_type


def raise_not_json(raw: bytes, source: object, error: ValueError) -> NoReturn:
    """Raise for invalid JSON; NaN and Infinity, which Python writes into JSON, get an error of their own."""

    def refuse(constant: str) -> NoReturn:
        raise NotFinite(f"{source}: found {shown(constant)[1:-1]}; expected finite numbers only")

    def finite(number: str) -> float:
        return number_ if math.isfinite(number_ := float(number)) else refuse(number)

    try:
        json.loads(
            raw, parse_constant=cast(Callable[[str], Any], refuse), parse_float=finite, parse_int=finite
        )
    except NotFinite:
        raise
    except (ValueError, RecursionError):
        pass
    raise ContractError(f"{source}: not JSON ({error}); expected one JSON object") from None


class RepeatedName(ValueError):
    """An object that has a name twice, so that it is unknown which of the two values is meant."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{shown(name)} appears twice")


def each_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these fields, as json's ``object_pairs_hook``. Raises RepeatedName."""
    found = dict(fields)
    if len(found) < len(fields):
        raise RepeatedName(next(name for name, n in Counter(name for name, _ in fields).items() if n > 1))
    return found


def check_names(raw: bytes, source: object) -> None:
    """Raises ContractError for JSON from a file in which an object has a name twice, on any level.

    Fast decoders take the last value in silence. Events from the log are not checked: encoders write each
    name once, and the check takes three times as long as decoding. Leaves all other faults to the decoder.
    """
    try:
        json.loads(raw, object_pairs_hook=each_once)
    except RepeatedName as error:
        raise ContractError(f"{source}: {error}; expected each name once in an object") from None
    except (ValueError, RecursionError):
        pass


def _at_fault(obj: Any, convert: Callable[[], object]) -> str | None:
    """The name of the entry of ``obj`` for which ``convert`` fails, found by bisection."""
    if not isinstance(obj, dict):
        return None
    suspects = list(obj.items())
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        obj.clear()
        obj.update(half)
        try:
            convert()
        except msgspec.ValidationError:
            suspects = half
        else:
            suspects = suspects[len(half) :]
    obj.clear()
    obj.update(suspects)
    return suspects[0][0] if suspects else None
