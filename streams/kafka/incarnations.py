"""Tells whether a topic was deleted and recreated; its offsets then start at 0 again.

Recorded offsets are meaningless for another incarnation of the topic. Kafka distinguishes incarnations by
topic id (KIP-516). A topic restored from a backup has every message at its old offset, so it counts under the
id of the topic that was backed up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from streams.errors import BadInput
from streams.kafka.failures import failure
from streams.kafka.probe import refusal
from streams.kafka.restores import read_restores
from streams.kafka.rights import Right, named
from streams.kafka.settings import Settings, admin_config
from streams.kafka.topics import is_in_memory

_FIRST_WITH_IDS = (2, 8)


class TopicMadeAgain(BadInput):
    """A topic was deleted and recreated, but recorded offsets refer to the earlier one."""


def topic_ids(settings: Settings, topics: Iterable[str], timeout_s: float = 10.0) -> dict[str, str]:
    """Topic to id. A topic that does not exist is left out; librdkafka's in-memory broker has no ids at all.

    Raises BadInput if no broker answers within ``timeout_s`` seconds, a backup is only partly restored, or
    Kafka hides a topic (the restores topic included), so that its existence is unknown.
    """
    given = ids_given_by_kafka(settings, [*topics, settings.restores_topic], timeout_s)
    if given.pop(settings.restores_topic, None) is None:
        return given
    restores = read_restores(settings, timeout_s)
    if restores.unfinished is not None:
        raise BadInput(
            f"the topics {settings.topic_prefix}.* at {settings.bootstrap_servers} are only partly restored; "
            "run `tribrain log restore` with the same backup again, which continues where it stopped"
        )
    return {topic: restores.stands_for.get(topic_id, topic_id) for topic, topic_id in given.items()}


def ids_given_by_kafka(settings: Settings, topics: Iterable[str], timeout_s: float = 10.0) -> dict[str, str]:
    """As ``topic_ids``, but ignoring restores."""
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
    hidden = [t["name"] for t in described if t["error_code"] == TopicAuthorizationFailedError.errno]
    if hidden:
        raise refusal(settings, named(Right("Describe", "topic", name) for name in hidden))
    return {topic["name"]: str(topic["topic_id"]) for topic in described if topic["partitions"]}


def check_incarnations(known: Mapping[str, str], now: Mapping[str, str], known_from: str) -> None:
    """Raises TopicMadeAgain if a topic has another id now; missing topics are not compared."""
    for topic, topic_id in known.items():
        if now.get(topic, topic_id) != topic_id:
            raise TopicMadeAgain(
                f"topic {topic!r} was deleted and recreated: {known_from} knows it as {topic_id}, "
                f"and it is {now[topic]} now; to continue with the new one from its beginning, start the "
                "trainer with --accept-new-topics"
            )
