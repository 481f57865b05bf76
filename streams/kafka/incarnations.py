"""Detects topics that were deleted and recreated, whose offsets then start at 0 again.

Recorded offsets are meaningless for another incarnation of the topic. Kafka distinguishes incarnations by
topic id (KIP-516). A topic restored from a backup has every message at its old offset, so it counts under the
id of the topic that was backed up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from time import monotonic, sleep

from kafka.errors import TopicAuthorizationFailedError
from kafka.protocol.metadata import MetadataRequest

from streams.errors import BadInput, NoBroker
from streams.kafka.connection import Connection
from streams.kafka.probe import refusal
from streams.kafka.restores import read_restores
from streams.kafka.rights import Right, named
from streams.kafka.settings import Settings, no_broker_answers
from streams.kafka.topics import IN_MEMORY_CLUSTER

log = logging.getLogger(__name__)

_FIRST_WITH_IDS = 10
"""Version of the metadata request, since Kafka 2.8."""
_LOOK_AGAIN_S = 0.2


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
    """Like ``topic_ids``, but ignores restores."""
    # An admin client asks for its rights on the cluster, too, and a broker logs each time that it has none.
    with _connected(settings, timeout_s) as connection:
        cluster = connection.ask(MetadataRequest(topics=[], max_version=_FIRST_WITH_IDS))
        # Asked about a topic, the in-memory broker would create it.
        if str(cluster.cluster_id).startswith(IN_MEMORY_CLUSTER):
            return {}
        request = MetadataRequest(
            topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in topics],
            allow_auto_topic_creation=False,
            min_version=_FIRST_WITH_IDS,
        )
        if not connection.knows(request):
            raise BadInput(
                f"the Kafka at {settings.bootstrap_servers} gives topics no ids; update it to 2.8 or newer"
            )
        answer = connection.ask(request)
    hidden = [
        topic.name for topic in answer.topics if topic.error_code == TopicAuthorizationFailedError.errno
    ]
    if hidden:
        raise refusal(settings, named(Right("Describe", "topic", name) for name in hidden))
    return {topic.name: str(topic.topic_id) for topic in answer.topics if topic.partitions}


def _connected(settings: Settings, timeout_s: float) -> Connection:
    """A connection to the first broker that answers; all are tried in turn until the time is over."""
    deadline_s = monotonic() + timeout_s
    share_s = timeout_s / len(settings.addresses)
    while True:
        for host, port in settings.addresses:
            until_s = min(deadline_s, monotonic() + share_s)
            try:
                return Connection(settings.security, host, port, until_s, looks_again=False)
            except NoBroker as error:
                log.debug("%s", error)
        if monotonic() + _LOOK_AGAIN_S > deadline_s:
            raise no_broker_answers(settings)
        sleep(_LOOK_AGAIN_S)


def check_incarnations(known: Mapping[str, str], now: Mapping[str, str], known_from: str) -> None:
    """Raises TopicMadeAgain if a topic has another id now; missing topics are not compared."""
    for topic, topic_id in known.items():
        if now.get(topic, topic_id) != topic_id:
            raise TopicMadeAgain(
                f"topic {topic!r} was deleted and recreated: {known_from} knows it as {topic_id}, "
                f"and it is {now[topic]} now; to continue with the new one from its beginning, start the "
                "trainer with --accept-new-topics"
            )
