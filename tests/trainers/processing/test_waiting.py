"""Events that wait for an earlier iteration of their run take bounded memory, and what is over is no loss."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent, TraceMessage
from streams.messages.stored import Outgoing, StoredMessage
from tests.factories import event, run
from trainers.pairs.former import MOST_WAITING_BYTES
from trainers.pairs.pairing import PairingRules
from trainers.processing.replay import form_again
from trainers.processing.trace_processor import TraceProcessor


def processor_of(most_waiting_bytes: int = MOST_WAITING_BYTES) -> TraceProcessor:
    return TraceProcessor(
        PairingRules(),
        trace_topic="trace",
        pairs_topic="pairs",
        dead_letters_topic="dead",
        most_waiting_bytes=most_waiting_bytes,
    )


def stored(messages: Iterable[TraceMessage]) -> list[StoredMessage]:
    return [
        StoredMessage(topic="trace", partition=0, offset=n, timestamp_ms=0, key=None, value=_as_read(message))
        for n, message in enumerate(messages)
    ]


def _as_read(message: TraceMessage) -> bytes:
    return bytes(bytearray(encode(message)))  # orjson's own bytes have room for more


def large(iter_idx: int, size: int, run_id: str = "run-a") -> TraceEvent:
    return replace(event(iter_idx, 0.01 * iter_idx, run_id=run_id), prompt=f"{iter_idx}" + "p" * size)


def fed(processor: TraceProcessor, messages: Iterable[StoredMessage]) -> list[Outgoing]:
    return [outgoing for message in messages for outgoing in processor.on_message(message).outgoing]


def test_what_waits_for_beginnings_is_bounded_and_what_is_over_is_a_dead_letter_at_once() -> None:
    processor = processor_of(8_000)
    messages = stored([large(n, 1_000, run_id=f"run-{n % 3}") for n in range(1, 10)])
    letters = fed(processor, messages)
    assert 0 < len(letters) < len(messages)
    assert all(b"lacks an earlier iteration" in dict(letter.headers)["reason"] for letter in letters)
    for _ in range(2):
        _, given_up = processor.on_tick(10.0, 10.0)
        letters += [letter for step in given_up for letter in step.outgoing]
    assert sorted(letter.value for letter in letters) == sorted(message.value for message in messages)
    assert processor._waiting_bytes == 0


@pytest.mark.parametrize("missing", [0, 1])
def test_memory_for_events_that_wait_stays_near_the_bound(missing: int) -> None:
    """Of runs without their beginning, and of such that lack their second iteration alone."""
    processor = processor_of(1 << 20)
    tracemalloc.start()
    for number in range(40):
        for i in (i for i in range(4) if i != missing):
            fed(processor, stored([large(i, 100_000, run_id=f"run-{number}")]))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    in_turn = 40 * 100_000 if missing else 0
    assert kept - in_turn < 3 << 20


def test_ends_that_wait_are_bounded_too() -> None:
    ends = [RunEnd(run_id=f"run-{n}", iterations=tuple(range(5_000))) for n in range(5)]
    assert [m.topic for m in fed(processor_of(1 << 20), stored(ends))] == ["dead"] * 4


def test_room_is_free_again_once_what_was_missing_has_come() -> None:
    first, second, third, end = stored(run([0.1, 0.9, 0.4]))
    processor = processor_of(4_000)
    for messages in ([first, third, second, end], [third, end, first, second], [first, end, third, second]):
        fed(
            processor,
            [replace(m, value=m.value.replace(b"run-a", b"run-%d" % id(messages))) for m in messages],
        )
        assert processor._waiting_bytes == 0


def test_an_event_in_its_turn_is_formed_however_much_waits() -> None:
    in_order = stored(run([0.1, 0.9, 0.4]))
    assert fed(processor_of(0), in_order) == fed(processor_of(), in_order)


def test_an_event_that_was_over_the_bound_counts_once_its_letter_is_replayed() -> None:
    in_order = stored(run([0.1, 0.9, 0.4]))
    whole = fed(processor_of(), in_order)
    first, second, third, end = in_order
    processor = processor_of(0)
    made = fed(processor, [third, first, second, end])
    assert [m.value for m in made if m.topic == "dead"] == [third.value, end.value]
    made += fed(processor, [replace(third, offset=4), replace(end, offset=5)])
    assert [m.value for m in made if m.topic == "pairs"] == [m.value for m in whole]


def test_who_reads_a_topic_to_its_end_forms_more_than_the_bound() -> None:
    in_order = [large(n, 3 << 20) for n in range(14)]
    end = RunEnd(run_id="run-a", iterations=tuple(range(14)))
    expected = [m.value for m in form_again(stored([*in_order, end]), PairingRules(), "pairs")]
    backwards = form_again(stored([end, *reversed(in_order)]), PairingRules(), "pairs")
    assert [m.value for m in backwards] == expected


def test_what_is_sent_again_before_its_run_has_begun_takes_no_room() -> None:
    processor = processor_of(8_000)
    early, others = large(1, 1_000), [large(n, 1_000) for n in (2, 3)]
    assert fed(processor, stored([early] * 100 + others)) == []
    for _ in range(2):
        _, given_up = processor.on_tick(10.0, 10.0)
    (step,) = given_up
    assert [letter.value for letter in step.outgoing] == [encode(each) for each in (early, *others)]
