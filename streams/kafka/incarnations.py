"""Which incarnation of a topic this is: one that is deleted and made again counts its offsets from 0.

A stamp of offsets means nothing on another incarnation, and Kafka tells them apart by the topic's id
(KIP-516).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.failures import failure
from streams.kafka.settings import Settings, admin_config
from streams.kafka.topics import is_in_memory

_FIRST_WITH_IDS = (2, 8)


class TopicMadeAgain(BadInput):
    """A topic was deleted and made again behind a stamp that speaks of the earlier one."""


def topic_ids(settings: Settings, topics: Iterable[str], timeout_s: float = 10.0) -> dict[str, str]:
    """Topic to id. A topic that does not exist is left out; librdkafka's in-memory broker has no ids at all.

    Raises BadInput where no broker answers within ``timeout_s`` seconds.
    """
    names = list(topics)
    try:
        with KafkaAdminClient(**admin_config(settings, timeout_s)) as admin:
            if is_in_memory(admin):
                return {}
        config = admin_config(settings, timeout_s) | {"api_version": _FIRST_WITH_IDS}
        with KafkaAdminClient(**config) as admin:
            described = admin.describe_topics(names)
    except KafkaError as error:
        raise failure(settings, error) from None
    return {topic["name"]: str(topic["topic_id"]) for topic in described if topic["partitions"]}


def check_incarnations(known: Mapping[str, str], now: Mapping[str, str], known_from: str) -> None:
    """Raises TopicMadeAgain where a topic has another id now; one that is not there is not compared."""
    for topic, topic_id in known.items():
        if now.get(topic, topic_id) != topic_id:
            raise TopicMadeAgain(
                f"topic {topic!r} was deleted and made again: {known_from} knows it as {topic_id}, "
                f"and it is {now[topic]} now; to go on with the new one from its beginning, start the "
                "trainer with --accept-new-topics"
            )
