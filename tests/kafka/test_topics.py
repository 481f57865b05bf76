from __future__ import annotations

from dataclasses import replace

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, create_topics


def _names(settings: Settings) -> tuple[str, ...]:
    return (
        settings.trace_topic,
        settings.pairs_topic,
        settings.snapshots_topic,
        settings.dead_letters_topic,
        settings.finetune_topic,
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
    assert partitions == dict(zip(_names(settings), (4, 1, 1, 1, 1), strict=True))


def test_no_topic_forgets_with_time(settings: Settings) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in _names(settings)]
    with connect_admin(settings, 5.0) as admin:
        described = admin.describe_configs(resources)["topic"]
    assert {str(described[name]["retention.ms"]["value"]) for name in _names(settings)} == {"-1"}


def test_topics_appear_on_the_in_memory_broker(in_memory_broker: str) -> None:
    settings = Settings(bootstrap_servers=in_memory_broker, topic_prefix="test-twice")
    assert create_topics(settings).created == _names(settings)
    assert create_topics(settings).existed == _names(settings)


def test_a_broker_that_is_away_is_bad_input_that_says_what_to_do() -> None:
    with pytest.raises(BadInput, match=r"no Kafka broker answers at 127\.0\.0\.1:9; .*tribrain broker"):
        create_topics(Settings(bootstrap_servers="127.0.0.1:9"), timeout_s=0.3)


def test_a_replication_factor_that_the_broker_cannot_give_is_bad_input(settings: Settings) -> None:
    with pytest.raises(BadInput, match=r"(?i)replication factor"):
        create_topics(replace(settings, topic_prefix="test-replicas", replication_factor=3))
