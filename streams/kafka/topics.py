"""The topics, made where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoError,
    TopicAlreadyExistsError,
    for_code,
)

from streams.errors import BadInput
from streams.kafka.settings import (
    Settings,
    admin_config,
    no_broker_answers,
    producer_config,
)
from streams.messages.limits import MAX_DEAD_LETTER_BYTES, MAX_PAIR_BYTES, MAX_SNAPSHOT_BYTES, topic_bytes

# librdkafka's test broker names its cluster so. It has no admin API and makes a topic when asked about it.
_IN_MEMORY_CLUSTER = "mockCluster"
_SEGMENT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class CreatedTopics:
    """Names of topics: those that were made, and those that were there."""

    created: tuple[str, ...]
    existed: tuple[str, ...]


def create_topics(settings: Settings, *, timeout_s: float = 5.0) -> CreatedTopics:
    """Make the topics that do not exist; those that do are left as they are.

    Raises BadInput where no broker answers within ``timeout_s`` seconds or the broker refuses.
    """
    wanted = _topics(settings)
    with connect_admin(settings, timeout_s) as admin:
        try:
            existing = set(admin.list_topics())
            missing = {name: options for name, options in wanted.items() if name not in existing}
            if is_in_memory(admin):
                _mention(settings, missing)
                created = set(missing)
            else:
                created = _create(admin, missing)
        except (KafkaConnectionError, KafkaTimeoutError):
            raise no_broker_answers(settings) from None
        except KafkaError as error:
            raise BadInput(
                f"the Kafka broker at {settings.bootstrap_servers} cannot make the topics: {error}"
            ) from None
    return CreatedTopics(
        created=tuple(name for name in wanted if name in created),
        existed=tuple(name for name in wanted if name not in created),
    )


def connect_admin(settings: Settings, timeout_s: float) -> KafkaAdminClient:
    """An admin client of a broker that has answered. Raises BadInput after ``timeout_s`` seconds."""
    try:
        return KafkaAdminClient(**admin_config(settings, timeout_s))
    except KafkaError:
        raise no_broker_answers(settings) from None


def has_transactions(settings: Settings, timeout_s: float = 10.0) -> bool:
    """Whether the broker fences producers. librdkafka's in-memory broker only pretends to.

    Raises BadInput where no broker answers within ``timeout_s`` seconds.
    """
    with connect_admin(settings, timeout_s) as admin:
        try:
            return not is_in_memory(admin)
        except KafkaError:
            raise no_broker_answers(settings) from None


def is_in_memory(admin: KafkaAdminClient) -> bool:
    """Whether the broker is librdkafka's own. Raises KafkaError."""
    return str(admin.describe_cluster()["cluster_id"]).startswith(_IN_MEMORY_CLUSTER)


def _topics(settings: Settings) -> dict[str, dict[str, Any]]:
    def options(partitions: int = 1, configs: dict[str, str] | None = None) -> dict[str, Any]:
        return {
            "num_partitions": partitions,
            "replication_factor": settings.replication_factor,
            "configs": {
                # A broker refuses what is an hour ahead of it, so a runner's clock must not matter.
                "message.timestamp.type": "LogAppendTime",
                # The log is the state: by default a broker forgets it after a week.
                "retention.ms": "-1",
            }
            | (configs or {}),
        }

    def taking(record_bytes: int) -> dict[str, str]:
        return {"max.message.bytes": str(topic_bytes(record_bytes))}

    return {
        settings.trace_topic: options(settings.trace_partitions),
        # One partition: what the learner learns depends on the order of the pairs.
        settings.pairs_topic: options(configs=taking(MAX_PAIR_BYTES)),
        # Only full segments are compacted, so their size is what there is to read for the newest snapshot.
        settings.snapshots_topic: options(
            configs=taking(MAX_SNAPSHOT_BYTES)
            | {"cleanup.policy": "compact", "segment.bytes": str(_SEGMENT_BYTES)}
        ),
        settings.dead_letters_topic: options(configs=taking(MAX_DEAD_LETTER_BYTES)),
        settings.finetune_topic: options(),
    }


def _create(admin: KafkaAdminClient, topics: dict[str, dict[str, Any]]) -> set[str]:
    """The names that were made; another process may have made some of them meanwhile."""
    if not topics:
        return set()
    answers = admin.create_topics(topics, raise_errors=False)["topics"]
    created = set()
    for answer in answers:
        error = for_code(answer["error_code"])
        if error is NoError:
            created.add(answer["name"])
        elif error is not TopicAlreadyExistsError:
            raise error(f"{answer['name']}: {answer['error_message']}")
    admin.wait_for_topics(sorted(created))
    return created


def _mention(settings: Settings, topics: Iterable[str]) -> None:
    producer = KafkaProducer(**producer_config(settings))
    try:
        for topic in topics:
            producer.partitions_for(topic)
    finally:
        producer.close(timeout=1)
