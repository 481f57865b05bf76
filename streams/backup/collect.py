"""Copies the log of a broker into a backup, even while runs publish and trainers work.

The topics are read one after the other, effects before their causes: first the groups' committed offsets,
then snapshots, marks of closed runs, pairs, and finally votes and traces. So the backup contains the causes
of everything in it. It equals a state in which all trainers were killed at once, and they continue from it
as they would after that. It contains everything that Kafka had when the backup started, and part of
what arrived meanwhile.

Messages are stored as clients read them. So aborted transactions are left out, and a header name that is not
UTF-8 is stored as ``header_names`` reads it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import GroupAuthorizationFailedError, KafkaError

from streams.backup.archive import (
    ArchiveWriter,
    Block,
    Committed,
    Contents,
    Partition,
    Topic,
    Written,
    new_archive,
)
from streams.errors import BadInput
from streams.kafka.failures import failure, is_refusal
from streams.kafka.incarnations import topic_ids
from streams.kafka.probe import refusal
from streams.kafka.reader import TopicReader
from streams.kafka.rights import Right
from streams.kafka.settings import Settings, trainer_group
from streams.kafka.topics import connect_admin, is_in_memory

log = logging.getLogger(__name__)

_ADMIN_S = 10.0

OnRead = Callable[[int], None]
"""Called with the number of further messages read."""


def effects_first(settings: Settings) -> tuple[str, ...]:
    """All topics, effects before their causes: no topic's messages are caused by those of an earlier one."""
    return (
        settings.finetune_topic,
        settings.snapshots_topic,
        settings.dead_letters_topic,
        settings.closed_runs_topic,
        settings.pairs_topic,
        settings.votes_topic,
        settings.trace_topic,
    )


def back_up(settings: Settings, path: Path, on_read: OnRead = lambda _: None) -> tuple[Written, Contents]:
    """Copy all topics of the prefix, and the offsets of all groups on them, into the file ``path``.

    An existing file stays until the new one is complete. Raises BadInput if the broker is unreachable or
    in-memory, or there is no topic with this prefix; OSError if the file cannot be written.
    """
    created_ms = int(time.time() * 1000)
    names = effects_first(settings)
    with connect_admin(settings, _ADMIN_S) as admin, _kafka_errors_named(settings):
        require_apache_kafka(admin, settings)
        ids = topic_ids(settings, names)
        if not ids:
            raise BadInput(
                f"there is no topic {settings.topic_prefix}.* at {settings.bootstrap_servers}; "
                "check --bootstrap-servers and the topic prefix"
            )
        groups = _groups(settings, admin, set(ids))
        configs = _own_configs(admin, list(ids))
    with new_archive(path) as archive:
        topics = {
            name: Topic(
                topic_id=ids[name],
                configs=configs[name],
                partitions=_copy(settings, name, archive, on_read),
            )
            for name in names
            if name in ids
        }
        contents = Contents(
            created_ms=created_ms, topic_prefix=settings.topic_prefix, topics=topics, groups=groups
        )
        if topic_ids(settings, names) != ids:
            raise BadInput(
                f"a topic {settings.topic_prefix}.* was created or deleted during the backup; back up again"
            )
        written = archive.finish(contents)
    return written, contents


def size_of_log(settings: Settings) -> int:
    """The number of offsets of all topics, which is about the number of messages that a backup reads."""
    total = 0
    for name in topic_ids(settings, effects_first(settings)):
        with TopicReader(settings, name) as reader:
            total += sum(reader.ends().values())
    return total


def require_apache_kafka(admin: KafkaAdminClient, settings: Settings) -> None:
    """Raises BadInput for librdkafka's in-memory broker, and KafkaError."""
    if is_in_memory(admin):
        raise BadInput(
            f"the broker at {settings.bootstrap_servers} is librdkafka's in-memory test broker, which "
            "reports no group offsets and keeps nothing; backups need Apache Kafka"
        )


def _copy(settings: Settings, topic: str, archive: ArchiveWriter, on_read: OnRead) -> tuple[Partition, ...]:
    """Copy the whole topic, in the order of its partitions."""
    with TopicReader(settings, topic) as reader:
        ends = dict.fromkeys(reader.ends(), 0)
        counts = dict.fromkeys(ends, 0)
        # Compaction may remove a message that was overwritten behind the end. So a second, short pass reads
        # what arrived during the first, which may take long.
        for _ in range(2):
            ends = reader.ends()
            with closing(reader.batches_as_written(ends)) as batches:
                for partition, records in batches:
                    archive.add(Block(topic=topic, partition=partition, records=tuple(records)))
                    counts[partition] += len(records)
                    on_read(len(records))
    return tuple(Partition(end=ends[number], records=counts[number]) for number in sorted(ends))


def _groups(
    settings: Settings, admin: KafkaAdminClient, topics: set[str]
) -> dict[str, tuple[Committed, ...]]:
    """Every group with a committed offset on one of the topics; groups other than trainers may be hidden.

    Raises KafkaError, and BadInput if Kafka hides the offsets of trainers.
    """
    # Other kinds of groups, such as share groups, have no committed offsets.
    names = sorted(
        group["group_id"] for group in admin.list_groups() if group["protocol_type"] in ("consumer", "")
    )
    found = {}
    hidden = []
    for name in names:
        try:
            of_group = admin.list_group_offsets({name: None})[name]
        except GroupAuthorizationFailedError:
            if name.startswith(trainer_group(settings, "")):
                raise refusal(settings, str(Right("Describe", "group", name))) from None
            hidden.append(name)
            continue
        committed = tuple(
            Committed(
                topic=each.topic, partition=each.partition, offset=at.offset, metadata=at.metadata or ""
            )
            for each, at in sorted(of_group.items())
            if each.topic in topics and at.offset >= 0
        )
        if committed:
            found[name] = committed
    if hidden:
        log.warning(
            "%s may not Describe these groups; if they have offsets on %s.*, the backup lacks them: %s",
            settings.security.principal,
            settings.topic_prefix,
            ", ".join(hidden),
        )
    return found


def _own_configs(admin: KafkaAdminClient, topics: list[str]) -> Mapping[str, dict[str, str]]:
    """The settings of each topic that differ from its broker's defaults. Raises KafkaError."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    answers = admin.describe_configs(asked, config_filter="modified")["topic"]
    return {name: {key: str(entry["value"]) for key, entry in answers[name].items()} for name in topics}


@contextmanager
def _kafka_errors_named(settings: Settings) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        if error.retriable or is_refusal(error):
            raise failure(settings, error) from None
        raise BadInput(f"the log at {settings.bootstrap_servers} cannot be read: {error}") from None
