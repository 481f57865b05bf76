from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from kafka import KafkaProducer
from msgspec.structs import replace

from streams.kafka.consumer import Consumer
from streams.kafka.follow import TopicFollower
from streams.kafka.settings import Settings, producer_config
from streams.kafka.writer import produce
from streams.messages.codec import encode, feature_hash, sealed
from streams.messages.contracts import RewardSnapshot
from streams.messages.stored import Outgoing
from streams.snapshots import feed as feed_module
from streams.snapshots import newest
from streams.snapshots.feed import SnapshotFeed, read_latest_snapshot
from tests.waiting import wait_until


def _snapshot(version: int, model: str = "default") -> RewardSnapshot:
    return _of_critic("overall", version, model)


def _of_critic(critic: str, version: int, model: str = "default") -> RewardSnapshot:
    feature = f"{critic}.quality"
    return sealed(
        RewardSnapshot(
            model=model,
            version=version,
            gate="shadow",
            statement="made by a test",
            feature_names=(feature,),
            feature_hash=feature_hash([feature]),
            weights={feature: 1.0},
            scales={feature: 1.0},
            labels={},
            metrics={},
        )
    )


def _write(settings: Settings, *values: bytes, key: bytes = b"bt:default") -> None:
    producer = KafkaProducer(**producer_config(settings))
    sent = [producer.send(settings.snapshots_topic, value, key) for value in values]
    for future in sent:
        future.get(timeout=10)
    producer.close()


def test_the_feed_takes_the_newest_and_refuses_damaged_older_and_foreign_snapshots(
    settings: Settings,
) -> None:
    damaged = encode(_snapshot(9)).replace(b"made by a test", b"made by a pest")
    seen: list[int] = []
    with SnapshotFeed(settings, on_snapshot=lambda snapshot: seen.append(snapshot.version)) as feed:
        _write(settings, encode(_snapshot(1)))
        wait_until(lambda: seen == [1])  # what it finds at its start it does not count
        values = [encode(_snapshot(version)) for version in (3, 2, 3)]
        _write(settings, *values, damaged, b"{", encode(_snapshot(8, "another")), encode(_snapshot(5)))
        wait_until(lambda: seen[-1:] == [5])
        assert feed.latest() == _snapshot(5)
        assert seen == [1, 3, 5]
        assert feed.refused == {"not newer": 2, "damaged": 2, "other model": 1}


def test_the_feed_picks_up_snapshots_that_come_later(in_memory_settings: Settings) -> None:
    with SnapshotFeed(in_memory_settings) as feed:
        _write(in_memory_settings, encode(_snapshot(1)))
        wait_until(lambda: feed.latest() == _snapshot(1))
        _write(in_memory_settings, encode(_snapshot(2)))
        wait_until(lambda: feed.latest() == _snapshot(2))


def test_a_callback_that_raises_is_counted_and_does_not_end_the_feed(in_memory_settings: Settings) -> None:
    def fail(_: RewardSnapshot) -> None:
        raise ValueError("a bug of the caller")

    with SnapshotFeed(in_memory_settings, on_snapshot=fail) as feed:
        for version in (1, 2):
            _write(in_memory_settings, encode(_snapshot(version)))
            wait_until(lambda n=version: feed.errors == {"ValueError": n})  # type: ignore[misc]
        assert feed.latest() == _snapshot(2)


def test_messages_of_other_models_and_kinds_are_passed_over_undecoded(in_memory_settings: Settings) -> None:
    """Decoded, each of these would be counted as refused."""
    with SnapshotFeed(in_memory_settings) as feed:
        for key in (b"bt:another", b"text:default", b"checkpoint:default", b"base:0:default"):
            _write(in_memory_settings, b"never any good", key=key)
        _write(in_memory_settings, encode(_snapshot(1)))
        wait_until(lambda: feed.latest() == _snapshot(1))
        assert feed.refused == {}


def test_a_feed_says_for_how_long_it_has_heard_nothing(in_memory_settings: Settings) -> None:
    with (
        SnapshotFeed(in_memory_settings) as heard,
        SnapshotFeed(Settings(bootstrap_servers="127.0.0.1:9")) as deaf,
    ):
        _write(in_memory_settings, encode(_snapshot(1)))
        wait_until(lambda: heard.latest() is not None)
        assert heard.silent_s < deaf.silent_s


def test_without_a_broker_there_is_no_snapshot_and_no_error() -> None:
    feed = SnapshotFeed(Settings(bootstrap_servers="127.0.0.1:9"))
    assert feed.latest() is None
    feed.close()
    feed.close()


def test_the_latest_snapshot_of_a_model_is_read_past_those_of_others(settings: Settings) -> None:
    assert read_latest_snapshot(settings, "default") is None
    _write(settings, encode(_snapshot(1)), encode(_snapshot(2)))
    _write(settings, encode(_snapshot(7, "another")), key=b"bt:another")
    _write(settings, encode(replace(_snapshot(9), version=8)))
    assert read_latest_snapshot(settings, "default") == _snapshot(2)


def test_a_feed_that_starts_reads_little_of_a_long_topic(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [b"never any good"] * 3_000
    _write(settings, *others, key=b"bt:another")
    _write(settings, encode(_snapshot(1)))
    came: list[int] = []
    poll = Consumer.poll

    def counted(consumer: Consumer) -> Any:
        polled = poll(consumer)
        came.extend(message.offset for messages in polled.values() for message in messages)
        return polled

    monkeypatch.setattr(Consumer, "poll", counted)
    with SnapshotFeed(settings) as feed:
        wait_until(lambda: feed.latest() == _snapshot(1))
    assert len(came) < 1_500


def test_what_comes_between_the_search_and_the_following_is_taken(
    in_memory_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search_and_publish(*arguments: Any) -> dict[int, int]:
        found = newest.first_offsets(*arguments)
        _write(in_memory_settings, encode(_snapshot(len(searched) + 2)))
        searched.append(found)
        return found

    searched: list[dict[int, int]] = []
    monkeypatch.setattr(feed_module, "first_offsets", search_and_publish)
    with SnapshotFeed(in_memory_settings) as feed:  # nothing is there
        wait_until(lambda: feed.latest() == _snapshot(2))
    with SnapshotFeed(in_memory_settings) as feed:
        wait_until(lambda: feed.latest() == _snapshot(3))
    assert len(searched) == 2


def test_a_feed_begins_with_the_newest_that_its_run_can_use(in_memory_settings: Settings) -> None:
    _write(in_memory_settings, encode(_snapshot(1)), encode(_of_critic("another", 2)), b"{")
    with SnapshotFeed(in_memory_settings, critics=("overall",)) as feed:
        wait_until(lambda: feed.refused == {"other features": 1, "damaged": 1})
        assert feed.latest() == _snapshot(1)


def test_followers_that_start_while_others_do_all_hear_of_a_message(settings: Settings) -> None:
    """kafka-python can lose a subscription to the answer of its first request; it is in one of thirty."""
    heard: set[int] = set()
    with ExitStack() as stack:
        for number in range(30):
            take = partial(lambda n, _: heard.add(n), number)
            stack.enter_context(TopicFollower(settings, [settings.pairs_topic], take))
        list(produce(settings, [Outgoing(settings.pairs_topic, b"k", b"v")]))
        wait_until(lambda: len(heard) == 30)
