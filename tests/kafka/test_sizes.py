"""Messages of the largest size that a topic takes, through the real worker."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from msgspec.structs import replace

from streams.kafka.partitions import partition_of
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings, producer_config
from streams.kafka.topics import connect_admin
from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import PreferencePair, RunEnd, TraceEvent
from streams.messages.dead_letters import pending_letters
from streams.messages.limits import MAX_DEAD_LETTER_BYTES, MAX_RECORD_BYTES, MAX_TRACE_BYTES
from tests.factories import event, run
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


def _in_another_partition(settings: Settings, one: TraceEvent) -> None:
    """Than its run's."""
    elsewhere = (partition_of(one.run_id.encode(), 4) + 1) % 4
    servers = settings.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "message.max.bytes": 16 << 20})
    producer.produce(settings.trace_topic, encode(one), one.run_id.encode(), partition=elsewhere)
    assert producer.flush(_WAIT_S) == 0


def _takes_only(settings: Settings, topic: str, record_bytes: int) -> None:
    """From now on."""
    limit = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(record_bytes)})
    with connect_admin(settings, 5.0) as admin:
        assert admin.alter_configs([limit])["topic"] == {topic: "OK"}


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


def test_the_largest_event_is_forwarded_to_the_partition_of_its_run_however_badly_it_compresses(
    settings: Settings,
) -> None:
    first = _with_prompt(event(0, 0.9), b64encode(os.urandom(MAX_TRACE_BYTES)).decode(), MAX_TRACE_BYTES)
    _in_another_partition(settings, first)
    with trainer(settings):
        publish(settings, [event(1, 0.1), RunEnd(run_id="run-a", iterations=(0, 1))])
        wait_until_learnt(settings, 1)
    assert _letters(settings) == []


def test_an_event_that_cannot_be_forwarded_for_its_size_has_its_letter_and_ends_nothing(
    settings: Settings,
) -> None:
    large = _with_prompt(event(0, 0.9), b64encode(os.urandom(200_000)).decode(), 200_000)
    _in_another_partition(settings, large)
    _takes_only(settings, settings.trace_topic, 100_000)
    with trainer(settings):
        publish(settings, run([0.9, 0.1], run_id="run-b"))
        wait_until_learnt(settings, 1)
        wait_until(lambda: _letters(settings), _WAIT_S)
    (letter,) = _letters(settings)
    assert (letter.value, letter.cut, letter.source_offset) == (encode(large), (), 0)
    assert f"topic {settings.trace_topic!r} does not accept its" in letter.reason


@pytest.mark.parametrize(("takes", "holds"), [(300_000, 200_000), (30_000, 0)])
def test_a_letter_that_is_too_large_for_its_topic_is_kept_in_part(
    settings: Settings, takes: int, holds: int
) -> None:
    bad = os.urandom(600_000)
    _as_another_client(settings, [bad])
    _takes_only(settings, settings.dead_letters_topic, takes)
    with trainer(settings):
        wait_until(lambda: _letters(settings), _WAIT_S)
        publish(settings, run([0.9, 0.1], run_id="run-b"))
        wait_until_learnt(settings, 1)
    (letter,) = _letters(settings)
    assert letter.cut == (f"the value of 600,000 bytes, SHA-256 {sha256(bad).hexdigest()}",)
    assert bad.startswith(letter.value)
    assert len(letter.value) >= holds


def test_a_pair_that_is_too_large_for_its_topic_has_its_letter_and_ends_nothing(settings: Settings) -> None:
    texts = b64encode(os.urandom(200_000)).decode()
    large = [_with_prompt(event(i, score), texts, 100_000) for i, score in ((0, 0.9), (1, 0.1))]
    _takes_only(settings, settings.pairs_topic, 50_000)
    with trainer(settings):
        publish(settings, [*large, RunEnd(run_id="run-a", iterations=(0, 1))])
        wait_until(lambda: _letters(settings), _WAIT_S)
        publish(settings, run([0.9, 0.1], run_id="run-b"))
        wait_until_learnt(settings, 2)
    (letter,) = _letters(settings)
    pair = decode_pair(letter.value, letter.name)
    assert isinstance(pair, PreferencePair)
    assert pair.run_id == "run-a"
    assert (letter.source_topic, letter.headers[0]) == (settings.pairs_topic, ("nth", b"0"))
