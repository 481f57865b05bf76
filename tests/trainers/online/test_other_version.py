"""A stored state without one of its parts, whichever it is, is bad input that says what to do."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.codec import decode_snapshot_of, encode, sealed
from streams.messages.contracts import TextSnapshot
from streams.messages.stored import StoredMessage
from tests.trainers.text.factories import polite_pairs
from trainers.processing.pair_processor import PairProcessor
from trainers.text.processor import TextProcessor

_SAID = r"another version of TriBrain.*give another --model"
_READ = StoredMessage(
    topic="pairs",
    partition=0,
    offset=0,
    timestamp_ms=0,
    key=None,
    value=encode(polite_pairs(1)[0]),
)


def preferences() -> PairProcessor:
    return PairProcessor("default", snapshots_topic="snapshots", dead_letters_topic="dead")


def texts() -> TextProcessor:
    return TextProcessor("default", snapshots_topic="snapshots")


def test_of_a_learner_of_preferences() -> None:
    processor = preferences()
    processor.on_message(_READ)
    whole = processor.checkpoint()
    assert "runs" in whole.state
    for part in whole.state:
        lacking = {name: value for name, value in whole.state.items() if name != part}
        with pytest.raises(BadInput, match=_SAID):
            preferences().restore(replace(whole, state=lacking))


def test_of_a_learner_of_texts() -> None:
    processor = texts()
    processor.on_message(_READ)
    whole = decode_snapshot_of(TextSnapshot, processor.snapshot(), "a snapshot")
    assert "runs" in whole.learner
    for part in whole.learner:
        lacking = {name: value for name, value in whole.learner.items() if name != part}
        with pytest.raises(BadInput, match=_SAID):
            texts().restore(sealed(replace(whole, learner=lacking)))
