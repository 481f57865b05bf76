"""Converts bytes to contracts and back: strictly, once, at the edge.

msgspec decodes messages in this version's own format directly into the contracts. All others are read again
with orjson: either they are valid but foreign (with unknown fields, or integers of more than 64 bits, which
become floating point), or they are refused. An error names the source, the field, what was found and what is
needed: ``trace.jsonl@line 3: overall_score: Expected `float | null`, got `str`, found 'high'``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeVar, get_type_hints

import msgspec
import orjson
from msgspec import UNSET
from msgspec.structs import asdict, replace

from streams.messages.checks import (
    check,
    check_features,
    check_finite,
    check_free,
    feature_hash,
    free_parts,
    is_tame,
)
from streams.messages.contracts import (
    AdapterSnapshot,
    Candidate,
    Checkpoint,
    CriticResult,
    DimensionReward,
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
from streams.messages.fields import Contract, Extras
from streams.messages.limits import (
    MAX_DEPTH,
    MAX_NUMBER,
    MAX_PAIR_BYTES,
    MAX_RECORD_BYTES,
    MAX_STATE_BYTES,
    MAX_TRACE_BYTES,
)
from streams.messages.refusals import (
    ContractError,
    NotFinite,
    OtherFeatures,
    OtherModel,
    in_words,
    raise_not_json,
    shown,
)
from streams.messages.votes import Vote

__all__ = [
    "ContractError",
    "NotFinite",
    "OtherFeatures",
    "OtherModel",
    "checksum",
    "decode_candidate",
    "decode_finetune",
    "decode_pair",
    "decode_snapshot",
    "decode_snapshot_of",
    "decode_text_pair",
    "decode_trace",
    "decode_vote",
    "encode",
    "encode_formed",
    "feature_hash",
    "json_schema",
    "sealed",
]

_NESTED: dict[type, dict[str, type]] = {
    TraceEvent: {"critic_results": CriticResult},
    RewardSnapshot: {"dimensions": DimensionReward},
}
_SCORES_IN = ("chosen_critics", "rejected_critics", "critic_scores")
_OF_A_BARE_PAIR = {"task_id": "", "label_source": "critic", "chosen_critics": {}, "rejected_critics": {}}
_SEALED: tuple[type[Sealed], ...] = (RewardSnapshot, TextSnapshot, AdapterSnapshot, Checkpoint)
_Sealed = TypeVar("_Sealed", bound=Sealed)
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Format:
    """What one topic, or one kind of file, may contain."""

    contracts: tuple[type[Any], ...]
    """The possible contracts; a message without a schema name, as from TriBrain 0.6.2, has the first."""
    max_bytes: int
    decoders: tuple[tuple[bytes, Callable[[bytes], Any]], ...]
    """First bytes of a message as ``encode`` writes it, and the decoder for it."""


def _format(max_bytes: int, *contracts: type[Any]) -> _Format:
    return _Format(
        contracts,
        max_bytes,
        tuple((b'{"schema":"%s"' % c.SCHEMA.encode(), msgspec.json.Decoder(c).decode) for c in contracts),
    )


_TRACE = _format(MAX_TRACE_BYTES, TraceEvent, RunEnd)
_CLOSED = _format(MAX_TRACE_BYTES, RunClosed)
_VOTE = _format(MAX_RECORD_BYTES, Vote)
_PAIRS = _format(MAX_PAIR_BYTES, PreferencePair, PairsEnd, Rollback)
_SNAPSHOT = _format(MAX_STATE_BYTES, *_SEALED)
_FINETUNE = _format(MAX_TRACE_BYTES, FinetuneEvent)
_CANDIDATE = _format(MAX_TRACE_BYTES, Candidate)
_FORMAT_OF = {
    contract: each
    for each in (_TRACE, _CLOSED, _VOTE, _PAIRS, _SNAPSHOT, _FINETUNE, _CANDIDATE)
    for contract in each.contracts
}
_write = msgspec.json.Encoder().encode
_types = get_type_hints(PreferencePair, include_extras=True)
_CheckedPair = msgspec.defstruct(
    "_CheckedPair",
    [
        (name, _types[name])
        for name in PreferencePair.__struct_fields__
        if name not in ("extras", "withdrawn")  # may be UNSET, which does not convert
    ],
)
"""A second class: msgspec validates a conversion to another class, but not to the same one."""
# msgspec inspects a class at its first use, and a thread that uses the class meanwhile crashes the process.
# Here, as with the decoders above, no other thread can have it yet.
msgspec.json.Decoder(_CheckedPair)
_TEXTS = frozenset({str})
_FLAT = frozenset({str, bool, int, float, NoneType})


def decode_trace(raw: bytes, source: object) -> TraceMessage:
    """Decode a value of the trace topic, or a line of ``trace.jsonl`` (also TriBrain 0.6.2's).

    ``str(source)`` names the origin of the bytes. Raises ContractError.
    """
    message: TraceMessage = _decode(raw, source, _TRACE)
    return message


def decode_run_closed(raw: bytes, source: object) -> RunClosed:
    """Decode a value of the closed-runs topic. Raises ContractError."""
    mark: RunClosed = _decode(raw, source, _CLOSED)
    return mark


def decode_vote(raw: bytes, source: object) -> Vote:
    """Decode a value of the votes topic. Raises ContractError."""
    vote: Vote = _decode(raw, source, _VOTE)
    return vote


def decode_pair(raw: bytes, source: object) -> PairMessage:
    """Decode a value of the pairs topic, or a line of ``pairs.jsonl``. Raises ContractError.

    A score beyond ``MAX_NUMBER`` (1e9, …) is clipped to it; learners treat it as a marker of a missing score.
    """
    message: PairMessage = _decode(raw, source, _PAIRS, _with_scores_in_bounds)
    return message


def decode_text_pair(raw: bytes, source: object) -> PairMessage:
    """Like ``decode_pair``, but a goal and two texts are enough. Raises ContractError.

    A line without a label source counts as ``critic``, the source that is worth least.
    """
    try:
        obj = orjson.loads(raw)
    except orjson.JSONDecodeError:
        obj = None
    if isinstance(obj, dict) and obj.get("schema", PreferencePair.SCHEMA) == PreferencePair.SCHEMA:
        for text in ("chosen_prompt", "rejected_prompt"):
            if text not in obj:
                raise ContractError(f"{source}: a required field is missing: `{text}`")
        # orjson writes fewer nested levels than it reads; then decode_pair reports the error.
        with suppress(orjson.JSONEncodeError):
            raw = orjson.dumps(_OF_A_BARE_PAIR | obj)
    return decode_pair(raw, source)


def decode_snapshot(raw: bytes, source: object) -> RewardSnapshot:
    """Decode a value of the snapshots topic, or a ``bt_reward.json``.

    Raises ContractError, including its subclasses NotFinite, OtherFeatures and OtherModel (another kind).
    """
    return decode_snapshot_of(RewardSnapshot, raw, source)


def decode_snapshot_of(kind: type[_Sealed], raw: bytes, source: object) -> _Sealed:
    """Like ``decode_snapshot``, but for any kind of snapshot, and for the JSON of a checkpoint."""
    obj = _loaded(raw, source, _SNAPSHOT)
    snapshot = _converted(obj, source, _SNAPSHOT)
    # Hash the fields in their original order; they may include fields of a later version.
    try:
        found = _sha256({**obj, "checksum": ""})
    except orjson.JSONEncodeError as error:  # orjson writes fewer nested levels than it reads
        raise ContractError(f"{source}: cannot be written as it was read: {error}") from None
    if snapshot.checksum != found:
        raise ContractError(
            f"{source}: the checksum does not match the content; "
            "the snapshot is damaged or was edited: recreate it"
        )
    if not isinstance(snapshot, kind):
        raise OtherModel(f"{source}: holds a {snapshot.SCHEMA}; expected a {kind.SCHEMA}")
    if isinstance(snapshot, RewardSnapshot):
        check_features(snapshot, source)
    return snapshot


def decode_finetune(raw: bytes, source: object) -> FinetuneEvent:
    """Decode a value of the finetune topic. Raises ContractError."""
    event: FinetuneEvent = _decode(raw, source, _FINETUNE)
    return event


def decode_candidate(raw: bytes, source: object) -> Candidate:
    """Decode a line of a candidates file; scores as in ``decode_pair``. Raises ContractError."""
    candidate: Candidate = _decode(raw, source, _CANDIDATE, _with_scores_in_bounds)
    return candidate


def encode(message: Message) -> bytes:
    """The one byte format of a message.

    What is written can be read again: raises NotFinite if a number is not finite, and ContractError for any
    other violation of the contract.
    """
    kind = type(message)
    try:
        if isinstance(message, PreferencePair) and _is_canonical(message):
            check(message, kind.SCHEMA)
            raw = _write(message)
            if len(raw) <= MAX_PAIR_BYTES:
                return raw
        unfolded = _unfold(message)
        raw = orjson.dumps(unfolded, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise ContractError(f"{kind.SCHEMA}: cannot be written as JSON: {error}") from None
    if b"null" in raw:  # orjson writes NaN and infinity as null, which reads back as something else
        check_finite(unfolded, kind.SCHEMA)
    if kind in _SEALED:
        _check_size(raw, kind.SCHEMA, _SNAPSHOT)
    else:
        _decode(raw, kind.SCHEMA, _FORMAT_OF[kind])
    return raw


def encode_formed(message: PreferencePair | PairsEnd | RunClosed) -> bytes:
    """``encode`` for messages formed from decoded events, whose bounds keep these messages valid.

    Raises ContractError for a pair that is too large.
    """
    if isinstance(message, PreferencePair) and not _has_flat_contexts(message):
        return encode(message)
    raw = _write(message)
    return raw if len(raw) <= MAX_PAIR_BYTES else encode(message)


def checksum(snapshot: Sealed) -> str:
    """SHA-256 (hex) of the snapshot's bytes with an empty checksum. Raises ContractError."""
    try:
        return _sha256(_unfold(replace(snapshot, checksum="")))
    except TypeError as error:
        raise ContractError(f"{snapshot.SCHEMA}: cannot be written as JSON: {error}") from None


def sealed(snapshot: _Sealed) -> _Sealed:
    """The snapshot with its checksum filled in. Raises ContractError."""
    return replace(snapshot, checksum=checksum(snapshot))


def json_schema(contract: type[Message]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a contract, generated from its class."""
    (schema,), components = msgspec.json.schema_components(
        [contract], schema_hook=lambda _: {"type": "object"}, ref_template="#/$defs/{name}"
    )
    for definition in components.values():
        definition.get("properties", {}).pop("extras", None)
        definition.pop("additionalProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": components}


def _sha256(snapshot: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY)).hexdigest()


def _decode(
    raw: bytes,
    source: object,
    accepted: _Format,
    prepared: Callable[[dict[str, Any]], dict[str, Any]] = lambda obj: obj,
) -> Any:
    """The decoded message. ``prepared`` adjusts the JSON of one that is not in this version's own format."""
    if len(raw) > accepted.max_bytes:
        _check_size(raw, source, accepted)
    message = None
    for beginning, decode in accepted.decoders:
        if raw.startswith(beginning):
            try:
                found = decode(raw)
                # A second ``schema`` field may have followed the first.
                message = found if found.schema == found.SCHEMA and is_tame(found) else None
            except _UNREADABLE:
                pass
            break
    if message is None:
        message = _converted(prepared(_loaded(raw, source, accepted)), source, accepted)
    check(message, source)
    return message


def _with_scores_in_bounds(obj: dict[str, Any]) -> dict[str, Any]:
    for name in _SCORES_IN:
        if isinstance(scores := obj.get(name), dict):
            for critic, score in scores.items():
                if type(score) in (int, float) and abs(score) > MAX_NUMBER:
                    scores[critic] = math.copysign(MAX_NUMBER, score)
    return obj


def _loaded(raw: bytes, source: object, accepted: _Format) -> dict[str, Any]:
    _check_size(raw, source, accepted)
    try:
        obj = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise_not_json(raw, source, error)
    if not isinstance(obj, dict):
        raise ContractError(f"{source}: expected a JSON object, found {type(obj).__name__}")
    return obj


def _converted(obj: dict[str, Any], source: object, accepted: _Format) -> Any:
    contract = _contract_of(obj, source, accepted.contracts)

    def convert() -> Any:
        return msgspec.convert(_fold(obj, contract), contract)

    try:
        message = convert()
    except msgspec.ValidationError as error:
        raise ContractError(f"{source}: {in_words(error, obj, convert, contract)}") from None
    except RecursionError:
        raise ContractError(
            f"{source}: is nested too deeply; expected at most {MAX_DEPTH} levels of objects and lists"
        ) from None
    if not is_tame(message):
        for name, part in free_parts(message):
            check_free(part, f"{source}: {name}" if name else f"{source}")
    return message


def _is_canonical(pair: PreferencePair) -> bool:
    """Whether the pair is within all bounds, and msgspec writes the same bytes as orjson, only faster."""
    if pair.extras or not _TEXTS.issuperset(map(type, pair.meta.values())) or not _has_flat_contexts(pair):
        return False
    try:
        msgspec.convert(pair, _CheckedPair, from_attributes=True)
    except msgspec.ValidationError:
        return False
    return pair.schema == pair.SCHEMA and (pair.withdrawn is UNSET or type(pair.withdrawn) is bool)


def _has_flat_contexts(pair: PreferencePair) -> bool:
    """Whether no context contains a list or an object, whose numbers msgspec may write differently."""
    for context in (pair.context, pair.chosen_context, pair.rejected_context):
        if context and not _FLAT.issuperset(map(type, context.values())):
            return False
    return True


def _check_size(raw: bytes, source: object, accepted: _Format) -> None:
    if len(raw) > accepted.max_bytes:
        raise ContractError(
            f"{source}: found {len(raw):,} bytes; expected at most {accepted.max_bytes:,}: leave out "
            "unnecessary content, such as long notes"
        )


def _contract_of(obj: dict[str, Any], source: object, accepted: tuple[type[Any], ...]) -> type[Any]:
    named = obj.get("schema", accepted[0].SCHEMA)
    for contract in accepted:
        if named == contract.SCHEMA:
            return contract
    known = " or ".join(repr(c.SCHEMA) for c in accepted)
    raise ContractError(f"{source}: schema is {shown(named)}; this version reads {known}")


def _fold(obj: dict[str, Any], cls: type[Contract]) -> dict[str, Any]:
    """The object, with the fields unknown to the contract collected under ``extras``."""
    known = frozenset(cls.__struct_fields__) - {"extras"}
    folded = {name: value for name, value in obj.items() if name in known}
    if len(folded) < len(obj):
        folded["extras"] = Extras({name: value for name, value in obj.items() if name not in known})
    for name, item_cls in _NESTED.get(cls, {}).items():
        items = folded.get(name)
        if isinstance(items, list):
            folded[name] = [_folded(item, item_cls) for item in items]
        elif isinstance(items, dict):
            folded[name] = {key: _folded(item, item_cls) for key, item in items.items()}
    return folded


def _folded(item: Any, cls: type[Contract]) -> Any:
    return _fold(item, cls) if isinstance(item, dict) else item


def _unfold(message: Any) -> dict[str, Any]:
    obj = {name: value for name, value in asdict(message).items() if value is not UNSET}
    extras = obj.pop("extras", None)
    for name in _NESTED.get(type(message), {}):
        items = obj[name]
        obj[name] = (
            {key: _unfold(item) for key, item in items.items()}
            if isinstance(items, dict)
            else [_unfold(item) for item in items]
        )
    return {**obj, **extras} if extras else obj
