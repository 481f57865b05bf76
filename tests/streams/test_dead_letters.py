"""Letters of messages of any size, and what can be replayed of them."""

from __future__ import annotations

import hashlib
import os

import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.dead_letters import KINDS, DeadLetter, dead_letter, pending_letters, replay_of
from streams.messages.limits import MAX_DEAD_LETTER_BYTES
from streams.messages.stored import Headers, Outgoing, StoredMessage

# Random, so that compression cannot make it small.
LARGE = os.urandom(3 << 20)
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()


def message(value: bytes, key: bytes | None = b"run-a", headers: Headers = ()) -> StoredMessage:
    return StoredMessage(
        topic="tribrain.trace", partition=2, offset=17, timestamp_ms=5, key=key, value=value, headers=headers
    )


def stored(letter: Outgoing) -> StoredMessage:
    return StoredMessage(
        topic=letter.topic,
        partition=0,
        offset=0,
        timestamp_ms=0,
        key=letter.key,
        value=letter.value,
        headers=letter.headers,
    )


def of(original: StoredMessage, reason: str = "why") -> DeadLetter:
    (letter,) = pending_letters([stored(dead_letter(original, reason, "dead"))])
    return letter


def test_a_replay_brings_back_the_message_with_its_key_and_headers() -> None:
    original = message(b"bytes", headers=(("nth", b"3"), ("reason", b"own"), ("replayed.source", b"\xff")))
    again, _ = replay_of(of(original), "dead")
    assert (again.topic, again.key, again.value) == ("tribrain.trace", b"run-a", b"bytes")
    assert again.headers == original.headers


def test_a_letter_that_was_replayed_is_not_open_again_when_another_makes_it_again() -> None:
    letter = dead_letter(message(b"{]"), "why", "dead")
    _, mark = replay_of(of(message(b"{]")), "dead")
    again = dead_letter(message(b"{]"), "why, said by the trainer of another model", "dead")
    assert pending_letters(map(stored, [letter, letter, mark, again])) == []


def test_a_message_at_the_place_of_one_that_was_replayed_is_another_with_another_time() -> None:
    """The topic was made again."""
    letter = dead_letter(message(b"{]"), "why", "dead")
    _, mark = replay_of(of(message(b"{]")), "dead")
    later = dead_letter(replace(message(b"[}"), timestamp_ms=6), "why", "dead")
    assert [one.value for one in pending_letters(map(stored, [letter, mark, later]))] == [b"[}"]


@pytest.mark.parametrize("source_bytes", [1 << 20, 1_048_588])
def test_all_that_a_topic_with_a_default_limit_takes_is_kept_whole(source_bytes: int) -> None:
    assert of(message(LARGE[:source_bytes])).cut == ()


def test_of_a_value_that_is_too_large_a_part_is_kept_and_its_size_and_hash() -> None:
    letter = of(message(LARGE))
    assert LARGE.startswith(letter.value)
    assert len(letter.value) > MAX_DEAD_LETTER_BYTES - (64 << 10)
    assert letter.cut == (f"the value of 3,145,728 bytes, SHA-256 {LARGE_SHA256}",)
    assert letter.name == "tribrain.trace[2]@17"


@pytest.mark.parametrize(
    ("original", "what"),
    [
        (message(b"", key=LARGE), "key"),
        (message(b"v", headers=(("h", LARGE),)), "headers"),
        (message(b"v", headers=(("", b""),) * 400_000), "headers"),
        (message(b"v", headers=(("n" * len(LARGE), b""),)), "headers"),
        (message(LARGE, key=LARGE, headers=(("h", LARGE),)), "headers"),
    ],
)
def test_a_key_or_headers_that_are_too_large_are_kept_in_part(original: StoredMessage, what: str) -> None:
    letter = dead_letter(original, "w" * 1_000_000, "dead")
    headers = sum(len(name) + len(value) + 16 for name, value in letter.headers)
    assert len(letter.key or b"") + len(letter.value) + headers <= MAX_DEAD_LETTER_BYTES
    assert of(original).cut[0].startswith(f"the {what} of ")


def test_a_letter_that_is_kept_in_part_is_not_replayed() -> None:
    with pytest.raises(BadInput, match=r"tribrain.trace\[2\]@17: the letter is truncated"):
        replay_of(of(message(LARGE)), "dead")


def test_a_letter_of_the_largest_size_is_taken_by_the_dead_letters_topic(settings: Settings) -> None:
    headers = (("h", b"x" * 1_000),)
    letter = dead_letter(message(LARGE, headers=headers), "w" * 10_000, settings.dead_letters_topic)
    list(produce(settings, [letter]))
    (back,) = pending_letters(read_topic(settings, settings.dead_letters_topic))
    assert (back.value, back.headers) == (letter.value, headers)


def test_a_letter_says_its_reason_in_two_words_also_one_that_was_shortened() -> None:
    letter = dead_letter(message(LARGE), "why", "dead", kind="damaged")
    (pending,) = pending_letters([stored(letter)])
    assert pending.kind == "damaged"
    assert "damaged" in KINDS


@pytest.mark.parametrize("own", [(), (("kind", b"own"),), (("kind", b"\xff"),)])
def test_a_letter_of_before_there_were_kinds_is_of_an_unknown_one(own: Headers) -> None:
    letter = dead_letter(message(b"{]", headers=own), "why", "dead")
    before = Outgoing(
        letter.topic, letter.key, letter.value, tuple(h for h in letter.headers if h[0] != "kind")
    )
    (pending,) = pending_letters([stored(before)])
    assert pending.kind == "unknown"
    assert pending.headers == own
