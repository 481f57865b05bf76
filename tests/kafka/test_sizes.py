"""Messages of the largest size that a topic takes, through the real worker."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from msgspec.structs import replace

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings, producer_config
from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import PreferencePair, RunEnd, TraceEvent
from streams.messages.dead_letters import pending_letters
from streams.messages.limits import MAX_DEAD_LETTER_BYTES, MAX_RECORD_BYTES, MAX_TRACE_BYTES
from tests.factories import event
from tests.kafka.test_trainer import publish, wait_until_learnt
from tests.services import trainer
from tests.waiting import wait_until

_WAIT_S = 60.0


def _with_prompt(one: TraceEvent, text: str, size: int) -> TraceEvent:
    """``size`` bytes when it is encoded."""
    return replace(one, prompt=text[: size - len(encode(replace(one, prompt="")))])


def _as_another_client(settings: Settings, values: Sequence[bytes]) -> None:
    """Whose own limit is higher; compressed, they get past the broker."""
    producer = KafkaProducer(**producer_config(settings) | {"max_request_size": 16 << 20})
    for value in values:
        producer.send(settings.trace_topic, value, b"run-a").get(10)
    producer.close()


def _letters(settings: Settings) -> list[Any]:
    return pending_letters(read_topic(settings, settings.dead_letters_topic))


def test_two_of_the_largest_events_of_a_runner_give_a_pair_that_is_learnt(settings: Settings) -> None:
    """Random prompts, so that nothing gets past a limit by its compression."""
    better, worse = (
        _with_prompt(event(i, score), b64encode(os.urandom(MAX_RECORD_BYTES)).decode(), MAX_RECORD_BYTES)
        for i, score in ((0, 0.9), (1, 0.1))
    )
    with trainer(settings):
        publish(settings, [better, worse, RunEnd(run_id="run-a", iterations=(0, 1))])
        wait_until_learnt(settings, 1)
    (pair,) = (
        message
        for message in (decode_pair(m.value, m.source) for m in read_topic(settings, settings.pairs_topic))
        if isinstance(message, PreferencePair)
    )
    assert (pair.chosen_prompt, pair.rejected_prompt) == (better.prompt, worse.prompt)


def test_two_of_the_largest_events_of_any_client_give_a_pair_that_is_learnt(settings: Settings) -> None:
    events = [
        _with_prompt(event(i, score), f"{i} times the red cube " * MAX_TRACE_BYTES, MAX_TRACE_BYTES)
        for i, score in ((0, 0.9), (1, 0.1))
    ]
    assert {len(encode(one)) for one in events} == {MAX_TRACE_BYTES}
    with trainer(settings):
        _as_another_client(settings, [encode(one) for one in events])
        publish(settings, [RunEnd(run_id="run-a", iterations=(0, 1))])
        wait_until_learnt(settings, 1)
    assert _letters(settings) == []
    assert max(len(m.value) for m in read_topic(settings, settings.pairs_topic)) > 1.9 * MAX_TRACE_BYTES


def test_bad_messages_of_the_largest_sizes_have_their_letters_and_end_nothing(settings: Settings) -> None:
    whole, in_part = b"x" * 1_000_000, b"y" * (8 << 20)
    with trainer(settings):
        _as_another_client(settings, [whole, in_part])
        publish(settings, [event(0, 0.9), event(1, 0.1), RunEnd(run_id="run-a", iterations=(0, 1))])
        wait_until_learnt(settings, 1)
        wait_until(lambda: len(_letters(settings)) == 2, _WAIT_S)
    first, second = _letters(settings)
    assert (first.value, first.cut) == (whole, ())
    assert second.cut
    assert in_part.startswith(second.value)
    assert len(second.value) > 0.9 * MAX_DEAD_LETTER_BYTES
