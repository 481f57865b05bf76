"""Whatever bytes or objects come, decoding and encoding raise one error or agree with each other."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.messages.checkpoints import decode_checkpoint
from streams.messages.codec import (
    ContractError,
    decode_candidate,
    decode_finetune,
    decode_pair,
    decode_snapshot,
    decode_text_pair,
    decode_trace,
    encode,
)
from tests.streams.test_codec import json_value, pairs, pairs_ends, run_ends, trace_events

DECODERS = (
    decode_trace,
    decode_pair,
    decode_text_pair,
    decode_candidate,
    decode_finetune,
    decode_snapshot,
    decode_checkpoint,
)
# On a busy machine.
PATIENT: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
messages = (trace_events | run_ends | pairs | pairs_ends).map(encode)
odd = json_value | st.sampled_from([2.0**70, 1e200, -1e-320, 10**15, "x" * 600, True, [[]], {"": {}}])


@st.composite
def nearly_messages(draw: st.DrawFn) -> bytes:
    """A message in which something odd stands in the place of a field, of one in a field, or as one more."""
    message = orjson.loads(draw(messages))
    place: Any = message
    if isinstance(inner := message[draw(st.sampled_from(sorted(message)))], dict) and draw(st.booleans()):
        place = inner
    name = draw(st.sampled_from(sorted(place)) if place else st.text(max_size=3))
    if draw(st.booleans()):
        place.pop(name, None)
    else:
        place[name] = draw(odd)
    return orjson.dumps(message)


@pytest.mark.parametrize("decode", DECODERS)
@given(raw=st.binary(max_size=200) | messages.flatmap(lambda m: st.integers(0, len(m)).map(lambda n: m[:n])))
@settings(max_examples=50, **PATIENT)
def test_bytes_raise_nothing_but_a_contract_error(decode: Any, raw: bytes) -> None:
    try:
        decode(raw, "here")
    except ContractError as error:
        assert str(error).startswith("here")  # noqa: PT017 (it need not be raised)


@given(raw=nearly_messages())
@settings(max_examples=300, **PATIENT)
def test_what_is_nearly_a_message_is_refused_or_is_written_as_it_was_read(raw: bytes) -> None:
    for decode in (decode_trace, decode_pair):
        try:
            message = decode(raw, "here")
        except ContractError as error:
            assert str(error).startswith("here: ")  # noqa: PT017 (it need not be raised)
            continue
        assert decode(encode(message), "here") == message
