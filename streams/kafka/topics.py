"""Creates the topics, each with a size limit that admits every valid message."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from streams.errors import BadInput
from streams.kafka.failures import failure
from streams.kafka.probe import refusal
from streams.kafka.rights import Right, named
from streams.kafka.settings import (
    Settings,
    admin_config,
    producer_config,
)
from streams.messages.limits import (
    MAX_DEAD_LETTER_BYTES,
    MAX_PAIR_BYTES,
    MAX_RECORD_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TRACE_BYTES,
    topic_bytes,
)

log = logging.getLogger(__name__)

IN_MEMORY_CLUSTER = "mockCluster"
"""Cluster id of librdkafka's test broker, which has no admin API and creates any topic in a request."""
_SEGMENT_BYTES = 64 << 20
_LIMIT = "max.message.bytes"
# A broker's own default: other clients fill their batches up to it.
_BATCH_BYTES = 1_048_588


@dataclass(frozen=True, slots=True)
class CreatedTopics:
    """Names of topics: those that were created, and those that already existed."""

    created: tuple[str, ...]
    existed: tuple[str, ...]
    raised: tuple[str, ...]
    """The existing ones that accept larger messages now than before."""


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """How to create a topic."""

    partitions: int
    configs: Mapping[str, str]


def create_topics(settings: Settings, *, raise_limits: bool = False, timeout_s: float = 5.0) -> CreatedTopics:
    """Create the topics that do not exist; existing ones are left as they are.

    If an existing topic's size limit is too low, this is logged; with ``raise_limits`` the limit is raised.
    Raises BadInput if no broker answers within ``timeout_s`` seconds or the broker refuses.
    """
    wanted = _topics(settings)
    raised: tuple[str, ...] = ()
    with connect_admin(settings, timeout_s) as admin:
        try:
            existing = set(admin.list_topics())
            missing = {name: options for name, options in wanted.items() if name not in existing}
            if is_in_memory(admin):
                _create_by_asking(settings, missing)
                created = set(missing)
            else:
                created = _create(settings, admin, missing, all_of_them=raise_limits)
                too_small = _too_small(
                    settings,
                    admin,
                    {name: wanted[name] for name in wanted if name in existing},
                    has_to_know=raise_limits,
                )
                if raise_limits:
                    raised = _raise(settings, admin, too_small)
                else:
                    _warn(too_small)
        except (KafkaConnectionError, KafkaTimeoutError, AuthorizationError) as error:
            raise failure(settings, error) from None
        except KafkaError as error:
            raise BadInput(
                f"the Kafka broker at {settings.bootstrap_servers} cannot create the topics: {error}"
            ) from None
    return CreatedTopics(
        created=tuple(name for name in wanted if name in created),
        existed=tuple(name for name in wanted if name not in created),
        raised=raised,
    )


def missing_topics(settings: Settings, timeout_s: float = 5.0) -> tuple[str, ...]:
    """The topics that ``create_topics`` would create. Raises BadInput as it does."""
    with connect_admin(settings, timeout_s) as admin:
        try:
            existing = set(admin.list_topics())
        except (KafkaConnectionError, KafkaTimeoutError, AuthorizationError) as error:
            raise failure(settings, error) from None
    return tuple(name for name in _topics(settings) if name not in existing)


def make_topics(settings: Settings, admin: KafkaAdminClient, topics: Mapping[str, TopicOptions]) -> None:
    """Create these topics, with the replication factor of the settings. Raises KafkaError."""
    _create(
        settings,
        admin,
        {
            name: {
                "num_partitions": options.partitions,
                "replication_factor": settings.replication_factor,
                "configs": dict(options.configs),
            }
            for name, options in topics.items()
        },
        all_of_them=True,
    )


def connect_admin(settings: Settings, timeout_s: float) -> KafkaAdminClient:
    """An admin client whose broker has answered. Raises BadInput after ``timeout_s`` seconds."""
    try:
        return KafkaAdminClient(**admin_config(settings, timeout_s))
    except KafkaError as error:
        raise failure(settings, error) from None


def has_transactions(settings: Settings, timeout_s: float = 10.0) -> bool:
    """Whether the broker fences producers. librdkafka's in-memory broker only pretends to.

    Raises BadInput if no broker answers within ``timeout_s`` seconds.
    """
    with connect_admin(settings, timeout_s) as admin:
        try:
            return not is_in_memory(admin)
        except KafkaError as error:
            raise failure(settings, error) from None


def is_in_memory(admin: KafkaAdminClient) -> bool:
    """Whether the broker is librdkafka's test broker. Raises KafkaError."""
    return str(admin.describe_cluster()["cluster_id"]).startswith(IN_MEMORY_CLUSTER)


def _topics(settings: Settings) -> dict[str, dict[str, Any]]:
    def options(partitions: int = 1, configs: dict[str, str] | None = None) -> dict[str, Any]:
        return {
            "num_partitions": partitions,
            "replication_factor": settings.replication_factor,
            "configs": {
                # A broker refuses timestamps an hour ahead of its clock, so a runner's clock must not matter.
                "message.timestamp.type": "LogAppendTime",
                # The log is the state; by default a broker deletes messages after a week.
                "retention.ms": "-1",
            }
            | (configs or {}),
        }

    def taking(record_bytes: int) -> dict[str, str]:
        return {_LIMIT: str(max(topic_bytes(record_bytes), _BATCH_BYTES))}

    return {
        # Headroom: an event that its client compressed well may have to be forwarded with our compression.
        settings.trace_topic: options(settings.trace_partitions, taking(MAX_TRACE_BYTES)),
        # One partition: learning depends on the order of the pairs.
        settings.pairs_topic: options(configs=taking(MAX_PAIR_BYTES)),
        # Only full segments are compacted, so this is how much must be read to find the newest snapshot.
        settings.snapshots_topic: options(
            configs=taking(MAX_SNAPSHOT_BYTES)
            | {"cleanup.policy": "compact", "segment.bytes": str(_SEGMENT_BYTES)}
        ),
        settings.dead_letters_topic: options(configs=taking(MAX_DEAD_LETTER_BYTES)),
        # One mark per run; they are looked up by time.
        settings.closed_runs_topic: options(configs=taking(MAX_RECORD_BYTES) | {"cleanup.policy": "compact"}),
        settings.finetune_topic: options(configs=taking(MAX_RECORD_BYTES)),
        # One partition: a vote comes before its retraction.
        settings.votes_topic: options(configs=taking(MAX_RECORD_BYTES)),
    }


def _create(
    settings: Settings, admin: KafkaAdminClient, topics: dict[str, dict[str, Any]], *, all_of_them: bool
) -> set[str]:
    """The names of the created topics; another process may have created some of them meanwhile.

    Unless ``all_of_them``, a user without the right to create topics may lack those that Kafka hides from it:
    it does not need them.
    """
    if not topics:
        return set()
    answers = admin.create_topics(topics, raise_errors=False)["topics"]
    created = set()
    refused = []
    for answer in answers:
        error = for_code(answer["error_code"])
        if error is NoError:
            created.add(answer["name"])
        elif issubclass(error, AuthorizationError):
            refused.append(answer["name"])
        elif error is not TopicAlreadyExistsError:
            raise error(f"{answer['name']}: {answer['error_message']}")
    admin.wait_for_topics(sorted(created))
    if refused and not all_of_them:
        hidden = TopicAuthorizationFailedError.errno
        refused = [t["name"] for t in admin.describe_topics(refused) if t["error_code"] != hidden]
    if refused:
        in_order = [name for name in topics if name in refused]
        raise refusal(settings, named(Right("Create", "topic", name) for name in in_order))
    return created


@dataclass(frozen=True, slots=True)
class _Limit:
    """The largest message that a topic accepts, and the largest that may come, in bytes."""

    takes: int
    needed: int


def _too_small(
    settings: Settings, admin: KafkaAdminClient, topics: Mapping[str, dict[str, Any]], *, has_to_know: bool
) -> dict[str, _Limit]:
    """Topics whose limit is known to be too low; raises BadInput for a hidden limit if ``has_to_know``."""
    if not topics:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {_LIMIT: None}) for name in topics]
    answers = admin.describe_configs(asked, config_filter="all")["topic"]
    # kafka-python returns nothing if the broker refuses.
    hidden = [name for name in topics if _LIMIT not in answers[name]]
    if hidden and has_to_know:
        raise refusal(settings, named(Right("DescribeConfigs", "topic", name) for name in hidden))
    limits = {
        name: _Limit(int(answers[name][_LIMIT]["value"]), int(options["configs"][_LIMIT]))
        for name, options in topics.items()
        if name not in hidden
    }
    return {name: limit for name, limit in limits.items() if limit.takes < limit.needed}


def _raise(settings: Settings, admin: KafkaAdminClient, too_small: Mapping[str, _Limit]) -> tuple[str, ...]:
    changed = [
        ConfigResource(ConfigResourceType.TOPIC, name, {_LIMIT: str(limit.needed)})
        for name, limit in too_small.items()
    ]
    answers = admin.alter_configs(changed)["topic"] if changed else {}
    for name, answer in answers.items():
        if TopicAuthorizationFailedError.__name__ in answer:
            raise refusal(settings, str(Right("AlterConfigs", "topic", name)))
        if answer != "OK":
            raise KafkaError(f"{name}: {_LIMIT} stays {too_small[name].takes}: {answer}")
    return tuple(too_small)


def _warn(too_small: Mapping[str, _Limit]) -> None:
    for name, limit in too_small.items():
        log.warning(
            "topic %r accepts messages of at most %d bytes, but up to %d may come; `tribrain log topics "
            "create` raises its %s",
            name,
            limit.takes,
            limit.needed,
            _LIMIT,
        )


def _create_by_asking(settings: Settings, topics: Iterable[str]) -> None:
    producer = KafkaProducer(**producer_config(settings))
    try:
        for topic in topics:
            producer.partitions_for(topic)
    finally:
        producer.close(timeout=1)
