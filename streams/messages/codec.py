"""Bytes to contracts and back: strict, once, at the edge.

orjson does the bytes, msgspec the types. An error names the source, the field, what was found and what is
needed: ``runs/a/trace.jsonl@line 3: overall_score: Expected `float | null`, got `str```.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any, ClassVar, NoReturn, TypeVar, cast

import msgspec
import orjson

from streams.errors import BadInput
from streams.messages.contracts import (
    AdapterSnapshot,
    Candidate,
    Checkpoint,
    CriticResult,
    FinetuneEvent,
    Message,
    PairMessage,
    PairsEnd,
    PreferencePair,
    RewardSnapshot,
    Rollback,
    RunClosed,
    RunEnd,
    Sealed,
    TextSnapshot,
    TraceEvent,
    TraceMessage,
)

_NESTED: dict[type, dict[str, type]] = {TraceEvent: {"critic_results": CriticResult}}
_OF_A_BARE_PAIR = {"task_id": "", "label_source": "critic", "chosen_critics": {}, "rejected_critics": {}}
_TRACE: tuple[type, ...] = (TraceEvent, RunEnd, RunClosed)
_PAIRS: tuple[type, ...] = (PreferencePair, PairsEnd, Rollback)
_SEALED: tuple[type[Sealed], ...] = (RewardSnapshot, TextSnapshot, AdapterSnapshot, Checkpoint)
_Sealed = TypeVar("_Sealed", bound=Sealed)
_KNOWN: dict[type, tuple[str, ...]] = {
    cls: tuple(f.name for f in fields(cls) if f.name != "extras")
    for cls in (CriticResult, *_TRACE, *_PAIRS, *_SEALED, FinetuneEvent, Candidate)
}
# msgspec learns a class at its first use, and a thread that uses it meanwhile crashes the process: here no
# other thread has them yet.
for _contract in _KNOWN:
    msgspec.json.Decoder(_contract)


class ContractError(BadInput):
    """A message or a line that is not what its contract says."""

    reason: ClassVar[str] = "damaged"
    """In two words, for counting."""


class NotFinite(ContractError):
    """A number that is NaN or infinite."""

    reason = "not finite"


class OtherModel(ContractError):
    """A snapshot of another reward model, or of another kind, than the one that is wanted."""

    reason = "other model"


class OtherFeatures(ContractError):
    """A snapshot whose weights are not of the features that it names, or of none that are to be weighed."""

    reason = "other features"


def decode_trace(raw: bytes, source: str) -> TraceMessage:
    """Decode a value of the trace topic, or a line of ``trace.jsonl`` (also TriBrain 0.6.2's).

    Raises ContractError; ``source`` says where the bytes came from.
    """
    message: TraceMessage = _decode(raw, source, _TRACE)
    if isinstance(message, TraceEvent):
        _check_event(message, source)
    return message


def decode_pair(raw: bytes, source: str) -> PairMessage:
    """Decode a value of the pairs topic, or a line of ``pairs.jsonl``. Raises ContractError."""
    message: PairMessage = _decode(raw, source, _PAIRS)
    return message


def decode_text_pair(raw: bytes, source: str) -> PairMessage:
    """As ``decode_pair``, of a line that may be as little as a goal and two texts. Raises ContractError.

    Who does not say who labelled it is counted as ``critic``, the least that a label can be worth.
    """
    try:
        obj = orjson.loads(raw)
    except orjson.JSONDecodeError:
        obj = None
    if isinstance(obj, dict) and obj.get("schema", PreferencePair.SCHEMA) == PreferencePair.SCHEMA:
        for text in ("chosen_prompt", "rejected_prompt"):
            if text not in obj:
                raise ContractError(f"{source}: a required field is missing: `{text}`")
        raw = orjson.dumps(_OF_A_BARE_PAIR | obj)
    return decode_pair(raw, source)


def decode_snapshot(raw: bytes, source: str) -> RewardSnapshot:
    """Decode a value of the snapshots topic, or a ``bt_reward.json``.

    Raises ContractError, and of its kinds NotFinite, OtherFeatures and OtherModel (another kind).
    """
    return decode_snapshot_of(RewardSnapshot, raw, source)


def decode_snapshot_of(kind: type[_Sealed], raw: bytes, source: str) -> _Sealed:
    """As ``decode_snapshot``, for any kind of snapshot, and for the JSON of a checkpoint."""
    snapshot = _decode(raw, source, _SEALED)
    # Over the fields in the order in which they stand, which may be those of a later version.
    if snapshot.checksum != _sha256({**orjson.loads(raw), "checksum": ""}):
        raise ContractError(
            f"{source}: the checksum does not match the content; "
            "the snapshot is damaged or was edited: make it again"
        )
    if not isinstance(snapshot, kind):
        raise OtherModel(f"{source}: holds a {snapshot.SCHEMA}; expected a {kind.SCHEMA}")
    if isinstance(snapshot, RewardSnapshot):
        _check_features(snapshot, source)
    return snapshot


def decode_finetune(raw: bytes, source: str) -> FinetuneEvent:
    """Decode a value of the finetune topic. Raises ContractError."""
    event: FinetuneEvent = _decode(raw, source, (FinetuneEvent,))
    return event


def decode_candidate(raw: bytes, source: str) -> Candidate:
    """Decode a line of a candidates file. Raises ContractError."""
    candidate: Candidate = _decode(raw, source, (Candidate,))
    return candidate


def encode(message: Message) -> bytes:
    """The one byte format of a message.

    Raises NotFinite where a number is not finite, ContractError where a text is not valid Unicode.
    """
    unfolded = _unfold(message)
    try:
        raw = orjson.dumps(unfolded, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise ContractError(f"{type(message).SCHEMA}: cannot be written as JSON: {error}") from None
    if b"null" in raw:  # orjson writes NaN and infinity as null, which reads back as something else
        _check_finite(unfolded, type(message).SCHEMA)
    return raw


def checksum(snapshot: Sealed) -> str:
    """SHA-256 (hex) of the snapshot's bytes with an empty checksum."""
    return _sha256(_unfold(replace(snapshot, checksum="")))


def sealed(snapshot: _Sealed) -> _Sealed:
    """The snapshot with its checksum filled in."""
    return replace(snapshot, checksum=checksum(snapshot))


def feature_hash(names: Iterable[str]) -> str:
    """SHA-256 (hex) of the feature names in their order, a line each."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def json_schema(contract: type[Message]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a contract, generated from its dataclass."""
    (schema,), components = msgspec.json.schema_components([contract], ref_template="#/$defs/{name}")
    for definition in components.values():
        definition.get("properties", {}).pop("extras", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": components}


def _sha256(snapshot: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY)).hexdigest()


def _decode(raw: bytes, source: str, accepted: tuple[type[Any], ...]) -> Any:
    try:
        obj = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        _raise_not_json(raw, source, error)
    if not isinstance(obj, dict):
        raise ContractError(f"{source}: expected a JSON object, found {type(obj).__name__}")
    contract = _contract_of(obj, source, accepted)
    try:
        return msgspec.convert(_fold(obj, contract), contract)
    except msgspec.ValidationError as error:
        raise ContractError(f"{source}: {_readable(str(error))}") from None


def _contract_of(obj: dict[str, Any], source: str, accepted: tuple[type[Any], ...]) -> type[Any]:
    """TriBrain 0.6.2 wrote no schema names, so a line without one is of the first kind."""
    named = obj.get("schema", accepted[0].SCHEMA)
    for contract in accepted:
        if named == contract.SCHEMA:
            return contract
    known = " or ".join(repr(c.SCHEMA) for c in accepted)
    raise ContractError(f"{source}: schema is {named!r}; this version reads {known}")


def _fold(obj: dict[str, Any], cls: type) -> dict[str, Any]:
    known = _KNOWN[cls]
    folded = {name: value for name, value in obj.items() if name in known}
    folded["extras"] = {name: value for name, value in obj.items() if name not in known}
    for name, item_cls in _NESTED.get(cls, {}).items():
        items = folded.get(name)
        if isinstance(items, list):
            folded[name] = [_fold(item, item_cls) if isinstance(item, dict) else item for item in items]
    return folded


def _unfold(message: Any) -> dict[str, Any]:
    cls = type(message)
    obj = {name: getattr(message, name) for name in _KNOWN[cls]}
    for name in _NESTED.get(cls, {}):
        obj[name] = [_unfold(item) for item in obj[name]]
    return {**obj, **message.extras}


def _check_event(event: TraceEvent, source: str) -> None:
    run_id = event.meta.get("run_id")
    if not isinstance(run_id, str) or not run_id:
        raise ContractError(f"{source}: meta.run_id: expected a non-empty text, found {run_id!r}")
    if event.overall_score is None and not event.meta.get("error"):
        raise ContractError(
            f"{source}: overall_score is null; expected a number in [0, 1], or meta.error to say why"
        )
    outcome = event.meta.get("outcome")
    score = outcome.get("score") if isinstance(outcome, dict) else None
    if outcome is not None and not (isinstance(score, int | float) and 0 <= score <= 1):
        raise ContractError(
            f"{source}: meta.outcome: expected an object with a score in [0, 1], found {outcome!r}"
        )


def _check_features(snapshot: RewardSnapshot, source: str) -> None:
    names = snapshot.feature_names
    if snapshot.feature_hash != feature_hash(names):
        raise OtherFeatures(
            f"{source}: feature_hash: is not that of the feature names; the snapshot is for other features"
        )
    for name in names:
        if name not in snapshot.weights or not snapshot.scales.get(name, 0.0) > 0.0:
            raise OtherFeatures(
                f"{source}: scales.{name}: found {snapshot.scales.get(name)}; expected a weight and a scale "
                "above 0 for every feature: make the snapshot again"
            )
    if snapshot.covariance and {len(names), *map(len, snapshot.covariance)} != {len(snapshot.covariance)}:
        raise OtherFeatures(f"{source}: covariance: expected a row and a column for every feature")
    if unnamed := snapshot.weights.keys() - set(names):
        raise OtherFeatures(f"{source}: weights: found {sorted(unnamed)[0]!r}, which is no feature name")


def _check_finite(value: Any, path: str) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotFinite(f"{path}: {value} is not a finite number")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_finite(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_finite(item, f"{path}[{index}]")


def _raise_not_json(raw: bytes, source: str, error: orjson.JSONDecodeError) -> NoReturn:
    """Python's own writers put NaN and Infinity into JSON; say so rather than "unexpected character"."""

    def refuse(constant: str) -> NoReturn:
        raise NotFinite(f"{source}: found {constant}; expected finite numbers only")

    with contextlib.suppress(ValueError, RecursionError):
        json.loads(raw, parse_constant=cast(Callable[[str], Any], refuse))
    raise ContractError(f"{source}: not JSON ({error}); expected one JSON object") from None


def _readable(error: str) -> str:
    """msgspec's ``Expected `float`, got `str` - at `$.overall_score``` with the field first."""
    what, _, where = error.partition(" - at `$")
    what = what.replace("Object missing required field", "a required field is missing:")
    field = where.strip("`.").lstrip(".")
    return f"{field}: {what}" if field else what
