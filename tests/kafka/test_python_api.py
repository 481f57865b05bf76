"""Rewards from a running Kafka in Python, and runs onto it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from kafka import KafkaProducer

from streams.kafka.reader import read_topic
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings, producer_config
from streams.messages.codec import encode
from streams.messages.contracts import GateState
from tests.runner.fakes import FilmWorld, ScriptedCritic, snapshot
from tests.waiting import wait_until
from tribrain import BadInput, Reward, RewardFeed, StopRules, refine


@pytest.fixture
def broker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
    return settings


def publish(settings: Settings, version: int, gate: GateState, critic: str = "eye.quality") -> Reward:
    reward = snapshot({critic: 2.0}, version=version, gate=gate)
    producer = KafkaProducer(**producer_config(settings))
    producer.send(settings.snapshots_topic, encode(reward), b"bt:default").get(timeout=10)
    producer.close()
    return Reward(reward)


def test_the_feed_gives_the_newest_reward_and_says_whether_it_may_steer(broker: Settings) -> None:
    with RewardFeed(broker.bootstrap_servers) as feed:
        assert (feed.latest(), feed.active()) == (None, None)
        shadow = publish(broker, 1, "shadow")
        assert feed.wait(45.0) == shadow
        assert (feed.latest(), feed.active()) == (shadow, None)
        active = publish(broker, 2, "active")
        wait_until(lambda: feed.active() == active)
        publish(broker, 3, "shadow")
        wait_until(lambda: feed.latest() != active)
        assert feed.active() is None
    assert feed.latest() is not None


def test_a_feed_begins_with_what_is_there(broker: Settings) -> None:
    active = publish(broker, 1, "active")
    with RewardFeed(broker.bootstrap_servers) as feed:
        assert feed.wait(45.0) == active


def test_a_reward_that_weighs_none_of_one_s_critics_is_refused(broker: Settings) -> None:
    publish(broker, 1, "active", critic="ear.quality")
    with RewardFeed(broker.bootstrap_servers, critics=["eye"]) as feed:
        fitting = publish(broker, 2, "active")
        wait_until(lambda: feed.latest() == fitting)


def test_a_broker_that_is_away_is_no_error_and_gives_nothing() -> None:
    with RewardFeed("127.0.0.1:9") as feed:
        assert feed.wait(0.0) is None
        assert feed.silent_s >= 0.0
    feed.close()


def test_what_is_no_broker_and_no_list_of_critics_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIBRAIN_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(
        BadInput, match=r'no Kafka broker is named; give RewardFeed\("host:port"\) or set TRIBRAIN'
    ):
        RewardFeed()
    with pytest.raises(BadInput, match="'localhost' is not a broker's address; give host:port"):
        RewardFeed("localhost")
    with pytest.raises(BadInput, match="critics is the text 'eye'; expected a list of names"):
        RewardFeed("127.0.0.1:9", critics="eye")


@pytest.mark.parametrize(("gate", "best"), [("active", 1), ("shadow", 0)])
def test_a_reward_from_kafka_steers_a_run_while_it_is_active(
    gate: GateState, best: int, broker: Settings, tmp_path: Path
) -> None:
    publish(broker, 1, gate, critic="eye.task")
    critic = ScriptedCritic({"quality": 0.50, "task": 0.1}, {"quality": 0.45, "task": 0.14})
    with RewardFeed(broker.bootstrap_servers) as feed:
        assert feed.wait(45.0) is not None
        result = refine(
            "goal",
            world=FilmWorld(),
            critics=[critic],
            reward=feed,
            out=tmp_path,
            stop=StopRules(max_iters=2),
        )
    assert (result.best_iter, result.versions) == (best, ((0, 1),))


def test_a_run_is_published_as_it_is_made(broker: Settings, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refine(
            "goal",
            world=FilmWorld(),
            critics=[ScriptedCritic({"quality": 0.5})],
            out=tmp_path,
            stop=StopRules(max_iters=2),
            publish_to=broker.bootstrap_servers,
        )
    published = b"".join(message.value + b"\n" for message in read_topic(broker, broker.trace_topic))
    assert published == (tmp_path / "trace.jsonl").read_bytes()


def test_what_has_not_reached_kafka_is_kept_and_a_warning_says_how_to_send_it(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not on Kafka: 2 events; to send: tribrain log spool flush"):
        refine(
            "goal",
            world=FilmWorld(),
            critics=[ScriptedCritic({"quality": 0.5})],
            out=tmp_path,
            stop=StopRules(max_iters=1),
            publish_to="127.0.0.1:9",
        )
    assert (tmp_path / "spool.sqlite").is_file()
