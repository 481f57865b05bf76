"""The partitions of a topic, and the partition of a key."""

from __future__ import annotations

from kafka.errors import KafkaError, TopicAuthorizationFailedError
from kafka.partitioner.default import murmur2

from streams.errors import BadInput
from streams.kafka.failures import failure
from streams.kafka.probe import refusal
from streams.kafka.rights import Right
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of ``key`` among ``partitions``, as Kafka's own producer chooses it (murmur2, no
    sign)."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(settings: Settings, topic: str, timeout_s: float = 10.0) -> list[int]:
    """The numbers of the topic's partitions.

    Uses the admin client, because the consumer's own request never times out on a silent broker. Raises
    BadInput if the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    with connect_admin(settings, timeout_s) as admin:
        try:
            (description,) = admin.describe_topics([topic])
        except KafkaError as error:
            raise failure(settings, error) from None
    if description["error_code"] == TopicAuthorizationFailedError.errno:
        raise refusal(settings, str(Right("Describe", "topic", topic)))
    if not description["partitions"]:
        raise BadInput(
            f"topic {topic!r} does not exist at {settings.bootstrap_servers}; "
            "check --bootstrap-servers and the topic prefix"
        )
    return sorted(p["partition_index"] for p in description["partitions"])
