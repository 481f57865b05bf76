"""Text rewards as a run follows them on a real broker."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from msgspec.structs import replace

from runner.rewards import feed_errors, text_feeds
from runner.rewards.text_feeds import NAME, RewardOfTexts, TextSnapshotFeed
from streams.kafka.settings import Settings
from streams.messages.codec import encode, sealed
from streams.messages.contracts import TextSnapshot, snapshot_key
from tests.kafka.test_serve_text import send
from tests.services import serve_text
from tests.trainers.text.factories import polite_pairs
from tests.waiting import wait_until
from trainers.text.train import train_on_texts

_WAIT_S = 60.0


def put(settings: Settings, snapshot: TextSnapshot) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    key = snapshot_key(snapshot.model, "text").encode()
    producer.produce(settings.snapshots_topic, key=key, value=encode(snapshot))
    assert producer.flush(_WAIT_S) == 0


def version(feed: TextSnapshotFeed) -> int:
    reward = feed.latest()
    return reward.version if reward else 0


def test_what_serve_text_publishes_judges_the_prompts_of_a_run(settings: Settings) -> None:
    with TextSnapshotFeed(settings) as feed, serve_text(settings, "--every-s", "0.05"):
        assert (feed.name, feed.latest()) == (NAME, None)
        send(settings, polite_pairs(80))
        wait_until(lambda: version(feed) == 80, _WAIT_S)
        reward = feed.latest()
    assert reward is not None
    assert reward.gate == "active"
    (kind, curt), covariance = reward.rewards("g", ("please move it", "move it now"))
    assert kind > curt
    assert covariance.shape == (2, 2)


def test_a_snapshot_that_cannot_be_read_is_counted_and_the_one_in_use_stays(settings: Settings) -> None:
    good = train_on_texts(polite_pairs(5))
    later = sealed(replace(good, version=6, scheme={**good.scheme, "most": 9}))
    with TextSnapshotFeed(settings) as feed:
        put(settings, good)
        wait_until(lambda: version(feed) == 5, _WAIT_S)
        put(settings, later)
        wait_until(lambda: feed.refused, _WAIT_S)
        assert feed.refused == {"other version": 1}
        assert version(feed) == 5
        put(settings, sealed(replace(good, version=7)))
        wait_until(lambda: version(feed) == 7, _WAIT_S)


def test_other_models_are_not_followed(settings: Settings) -> None:
    with TextSnapshotFeed(settings, "mine") as feed:
        put(settings, train_on_texts(polite_pairs(5)))
        mine = sealed(replace(train_on_texts(polite_pairs(3)), model="mine"))
        put(settings, mine)
        wait_until(lambda: version(feed) == 3, _WAIT_S)


def test_an_error_that_nobody_expects_is_counted_said_once_and_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left = iter([1, 2, 3])

    def fail_thrice(snapshot: TextSnapshot) -> RewardOfTexts:
        if next(left, None):
            raise MemoryError
        return RewardOfTexts(snapshot)

    monkeypatch.setattr(text_feeds, "RewardOfTexts", fail_thrice)
    with TextSnapshotFeed(settings, try_again_s=0.01) as feed:
        put(settings, train_on_texts(polite_pairs(5)))
        wait_until(lambda: version(feed) == 5, _WAIT_S)
        assert feed.errors == {"MemoryError": 3}
    assert [record.levelname for record in caplog.records if record.name == feed_errors.__name__] == ["ERROR"]


def test_what_is_tried_again_takes_no_newer_ones_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = sealed(replace(train_on_texts(polite_pairs(5)), version=6))

    def fail_on_the_first(snapshot: TextSnapshot) -> RewardOfTexts:
        if snapshot.version == 5:
            raise MemoryError
        return RewardOfTexts(snapshot)

    monkeypatch.setattr(text_feeds, "RewardOfTexts", fail_on_the_first)
    with TextSnapshotFeed(settings, try_again_s=0.01) as feed:
        put(settings, train_on_texts(polite_pairs(5)))
        wait_until(lambda: feed.errors, _WAIT_S)
        put(settings, later)
        wait_until(lambda: version(feed) == 6, _WAIT_S)
        tried = feed.errors
        assert feed._again is not None
        feed._again.join(_WAIT_S)
        assert feed.errors == tried
        assert version(feed) == 6
