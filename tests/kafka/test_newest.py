"""The newest messages of some keys, found from the end of a topic that holds much else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.kafka.writer import TopicWriter
from streams.messages.codec import ContractError
from streams.messages.stored import Outgoing, StoredMessage
from streams.snapshots.newest import read_newest


def write(settings: Settings, *messages: tuple[bytes, bytes]) -> None:
    """(key, value) each."""
    writer = TopicWriter(settings, lambda: False)

    def refuse(message: Outgoing, reason: str) -> None:
        raise AssertionError(reason)

    outgoing = [Outgoing(settings.snapshots_topic, key, value) for key, value in messages]
    try:
        writer.deliver(outgoing, on_acknowledged=lambda _: None, on_refused=refuse)
    finally:
        writer.close()


def others(n: int) -> list[tuple[bytes, bytes]]:
    return [(b"bt:other", b"bad") for _ in range(n)]


def good(value: bytes, source: str) -> bytes:
    if value == b"bad":
        raise ContractError(f"{source}: is bad")
    return value


def newest(settings: Settings, *keys: bytes) -> dict[bytes, bytes]:
    return {key: found for key, (_, found) in read_newest(settings, dict.fromkeys(keys, good)).items()}


def test_the_last_of_each_key_is_found_far_behind_the_end(settings: Settings) -> None:
    far, near = [(b"far", b"1"), (b"far", b"2")], [(b"near", b"3"), (b"near", b"4")]
    write(settings, *far, *others(3_000), *near, *others(10))
    assert newest(settings, b"far", b"near", b"nowhere") == {b"far": b"2", b"near": b"4"}


def test_one_that_cannot_be_used_leaves_the_one_before_it(settings: Settings) -> None:
    write(settings, (b"mine", b"1"), (b"mine", b"2"), *others(700), (b"mine", b"bad"))
    assert newest(settings, b"mine", b"bt:other") == {b"mine": b"2"}


def test_an_empty_topic_holds_nothing(settings: Settings) -> None:
    assert newest(settings, b"mine") == {}


def test_what_is_near_the_end_is_found_without_the_rest(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, *others(3_000), (b"mine", b"1"))
    read, read_up = [], TopicReader.read_up

    def counted(reader: TopicReader, *arguments: Any) -> Iterator[StoredMessage]:
        for message in read_up(reader, *arguments):
            read.append(message.offset)
            yield message

    monkeypatch.setattr(TopicReader, "read_up", counted)
    assert newest(settings, b"mine") == {b"mine": b"1"}
    assert len(read) <= 500


def test_it_is_found_in_any_partition(in_memory_settings: Settings) -> None:
    write(in_memory_settings, *((b"key %d" % n, b"1") for n in range(20)), *others(600))
    keys = [b"key %d" % n for n in range(20)]
    assert newest(in_memory_settings, *keys) == dict.fromkeys(keys, b"1")
