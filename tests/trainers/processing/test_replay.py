"""A log that is read once more gives the same pairs and models; what it cannot give is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.codec import decode_pair, decode_snapshot, encode, encode_formed
from streams.messages.contracts import RewardSnapshot, RunEnd
from streams.messages.stored import StoredMessage
from tests.factories import event, pair
from tests.kafka.test_trainer import interleaved, random_runs
from tests.states import held
from trainers.pairs.pairing import LONGEST_MODEL, PairingRules
from trainers.processing.pair_processor import PairProcessor
from trainers.processing.relearn import one_log
from trainers.processing.replay import form_again, learn_again, read_files

RULES = PairingRules()
MESSAGES = [
    StoredMessage(topic="trace", partition=0, offset=n, timestamp_ms=0, key=None, value=encode(message))
    for n, message in enumerate(interleaved(random_runs(12, seed=0), seed=0))
]
PAIRS = list(form_again(MESSAGES, RULES, "pairs"))


def published(messages: list[StoredMessage]) -> RewardSnapshot:
    learner = PairProcessor("default", snapshots_topic="snapshots", dead_letters_topic="dead")
    learner.on_messages(messages)
    return decode_snapshot(learner.snapshot(), "test")


def test_a_published_model_is_learnt_up_to_its_stamp_and_compared() -> None:
    half = PAIRS[: len(PAIRS) // 2]
    log = one_log(held(published(half)))
    again = learn_again(PAIRS, RULES, "pairs", {"default": log})["default"]
    assert again.identical
    assert again.messages == half


def test_a_model_whose_log_was_cut_is_learnt_from_what_there_is_and_is_not_identical() -> None:
    log = one_log(held(published(PAIRS)))
    rest = PAIRS[:-3]
    again = learn_again(rest, RULES, "pairs", {"default": log})["default"]
    assert again.identical is False
    assert again.messages == rest
    assert decode_snapshot(again.snapshot, "again").weights == published(rest).weights


def test_a_model_of_which_nothing_is_published_is_compared_with_nothing() -> None:
    assert learn_again(PAIRS, RULES, "pairs")["default"].identical is None


def test_a_file_gives_the_pairs_of_the_topic_with_an_end_for_the_run_that_has_none(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"".join(message.value + b"\n" for message in MESSAGES[:-1]))
    messages, events = read_files([path], "trace")
    assert isinstance(events[-1], RunEnd)
    assert list(form_again(messages, RULES, "pairs", events)) == PAIRS


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"text": "\x7f é \u2028", "small": 1e-7, "whole": 3.0, "large": 1e6, "none": None, "yes": True},
        {"list": [1e16, 1e22], "object": {"a": 1e-10}},
    ],
)
def test_what_is_formed_is_written_as_any_pair_is(context: dict[str, Any]) -> None:
    formed = replace(pair({"a.b": 0.9}, {"a.b": 1e-7, "c.d": None}), context=context)
    assert encode_formed(formed) == encode(formed)


@pytest.mark.parametrize("model", ["", "m" * (LONGEST_MODEL + 1)])
def test_a_model_whose_pairs_no_topic_would_take_is_refused(model: str) -> None:
    with pytest.raises(BadInput, match="name has"):
        PairingRules(model=model)


def test_the_longest_name_still_makes_pairs() -> None:
    rules = PairingRules(model="m" * LONGEST_MODEL, model_by="family")
    run = [
        replace(one, meta=one.meta | {"context": {"family": "f" * 64}})
        for one in (event(i, i / 4, critics={"a.b": i / 4}) for i in range(3))
    ]
    messages = [
        StoredMessage(topic="trace", partition=0, offset=n, timestamp_ms=0, key=None, value=encode(message))
        for n, message in enumerate(run)
    ]
    (first, *_) = form_again(messages, rules, "pairs")
    assert len(decode_pair(first.value, "test").model) == 512
