from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, create_topics
from streams.messages.limits import (
    MAX_DEAD_LETTER_BYTES,
    MAX_PAIR_BYTES,
    MAX_RECORD_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TRACE_BYTES,
)
from tests.waiting import wait_until


def _names(settings: Settings) -> tuple[str, ...]:
    return (
        settings.trace_topic,
        settings.pairs_topic,
        settings.snapshots_topic,
        settings.dead_letters_topic,
        settings.closed_runs_topic,
        settings.finetune_topic,
        settings.votes_topic,
    )


def test_topics_are_made_once_and_found_the_second_time(kafka: str) -> None:
    settings = Settings(bootstrap_servers=kafka, topic_prefix="test-twice")
    assert create_topics(settings).created == _names(settings)
    again = create_topics(settings)
    assert (again.created, again.existed) == ((), _names(settings))


def test_the_trace_topic_has_four_partitions_and_the_others_one(settings: Settings) -> None:
    with connect_admin(settings, 5.0) as admin:
        described = admin.describe_topics(list(_names(settings)))
    partitions = {topic["name"]: len(topic["partitions"]) for topic in described}
    assert partitions == dict(zip(_names(settings), (4, 1, 1, 1, 1, 1, 1), strict=True))


def test_no_topic_forgets_with_time(settings: Settings) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in _names(settings)]
    with connect_admin(settings, 5.0) as admin:
        described = admin.describe_configs(resources)["topic"]
    assert {str(described[name]["retention.ms"]["value"]) for name in _names(settings)} == {"-1"}


def test_topics_appear_on_the_in_memory_broker(in_memory_broker: str) -> None:
    settings = Settings(bootstrap_servers=in_memory_broker, topic_prefix="test-twice")
    assert create_topics(settings).created == _names(settings)
    assert create_topics(settings).existed == _names(settings)


def _limits(settings: Settings) -> dict[str, int]:
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in _names(settings)]
    with connect_admin(settings, 5.0) as admin:
        described = admin.describe_configs(asked)["topic"]
    return {name: int(config["max.message.bytes"]["value"]) for name, config in described.items()}


@pytest.fixture
def small_pairs(kafka: str) -> Settings:
    """The pairs topic takes 20 kB, and keeps everything."""
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"test-{uuid.uuid4().hex[:12]}")
    small = {"max.message.bytes": "20000", "retention.ms": "-1"}
    with connect_admin(settings, 5.0) as admin:
        options = {"num_partitions": 1, "replication_factor": 1, "configs": small}
        admin.create_topics({settings.pairs_topic: options})
        admin.wait_for_topics([settings.pairs_topic])
    return settings


def test_every_topic_takes_the_largest_of_its_messages(settings: Settings) -> None:
    limits = _limits(settings)
    assert limits[settings.trace_topic] > MAX_TRACE_BYTES
    assert limits[settings.pairs_topic] > MAX_PAIR_BYTES
    assert limits[settings.snapshots_topic] > MAX_SNAPSHOT_BYTES
    assert limits[settings.dead_letters_topic] > MAX_DEAD_LETTER_BYTES
    assert limits[settings.finetune_topic] > MAX_RECORD_BYTES


def test_a_topic_that_takes_too_small_messages_is_named_and_stays_as_it_is(
    small_pairs: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert create_topics(small_pairs).raised == ()
    assert f"topic '{small_pairs.pairs_topic}' accepts messages of at most 20000 bytes" in caplog.text
    assert "`tribrain log topics create` raises its max.message.bytes" in caplog.text
    assert _limits(small_pairs)[small_pairs.pairs_topic] == 20_000


def test_topics_create_raises_the_limit_of_a_topic_and_changes_nothing_else(
    small_pairs: Settings, tribrain_on: Callable[[Settings], Any]
) -> None:
    topics_create = partial(tribrain_on(small_pairs), "topics", "create")
    assert topics_create()[1]["raised"] == [small_pairs.pairs_topic]
    # A broker answers with what it had for a moment longer.
    wait_until(lambda: _limits(small_pairs)[small_pairs.pairs_topic] > MAX_PAIR_BYTES)
    assert topics_create()[1]["raised"] == []
    resource = ConfigResource(ConfigResourceType.TOPIC, small_pairs.pairs_topic)
    with connect_admin(small_pairs, 5.0) as admin:
        described = admin.describe_configs([resource])["topic"][small_pairs.pairs_topic]
    assert described["retention.ms"]["value"] == "-1"


def test_a_broker_that_is_away_is_bad_input_that_says_what_to_do() -> None:
    with pytest.raises(BadInput, match=r"no Kafka broker answers at 127\.0\.0\.1:9; .*tribrain serve broker"):
        create_topics(Settings(bootstrap_servers="127.0.0.1:9"), timeout_s=0.3)


def test_a_replication_factor_that_the_broker_cannot_give_is_bad_input(settings: Settings) -> None:
    with pytest.raises(BadInput, match=r"(?i)replication factor"):
        create_topics(replace(settings, topic_prefix="test-replicas", replication_factor=3))
