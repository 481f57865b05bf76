"""From a broker into a backup, also while runs publish and trainers work.

The topics are read one after the other, and what follows from something is read before it: first how far the
groups have come, then snapshots, then marks of closed runs, then pairs, and votes and traces last. So all
that anything in the backup follows from is in it, too, and what it holds is a state in which all trainers
might have been killed at once: they go on from it as they do after that. Everything that Kafka had when the
backup began is in it; of what came meanwhile, some.

Messages are kept as clients read them. So of transactions that were aborted nothing is kept, and a header's
name that is no UTF-8 is kept as ``header_names`` reads it, as everything here does.
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
"""Told how many messages were read more."""


def effects_first(settings: Settings) -> tuple[str, ...]:
    """All topics; none follows from one before it."""
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
    """Read all topics of the prefix, and the offsets of all groups on them, into the file ``path``.

    What was there stays until the new one is whole. Raises BadInput where the broker is away or an in-memory
    one, or there is no topic of this prefix; OSError where the file cannot be written.
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
                f"a topic {settings.topic_prefix}.* was made or deleted during the backup; back up once more"
            )
        written = archive.finish(contents)
    return written, contents


def size_of_log(settings: Settings) -> int:
    """How many offsets the topics have, which is about how many messages a backup is going to read."""
    total = 0
    for name in topic_ids(settings, effects_first(settings)):
        with TopicReader(settings, name) as reader:
            total += sum(reader.ends().values())
    return total


def require_apache_kafka(admin: KafkaAdminClient, settings: Settings) -> None:
    """Raises BadInput for librdkafka's in-memory broker, and KafkaError."""
    if is_in_memory(admin):
        raise BadInput(
            f"the broker at {settings.bootstrap_servers} is librdkafka's in-memory test broker, which tells "
            "no offsets of groups and keeps nothing; backups need Apache Kafka"
        )


def _copy(settings: Settings, topic: str, archive: ArchiveWriter, on_read: OnRead) -> tuple[Partition, ...]:
    """All that the topic holds, in its partitions' order."""
    with TopicReader(settings, topic) as reader:
        ends = dict.fromkeys(reader.ends(), 0)
        counts = dict.fromkeys(ends, 0)
        # The cleaner may take out what is overwritten by something behind the end. So what came during the
        # first pass, which may take long, is read in a second, which does not.
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
    """Every group that has come to an offset on one of the topics; others than trainers where Kafka tells.

    Raises KafkaError, and BadInput where it hides the offsets of trainers.
    """
    # Others (share groups, for one) have no offsets to tell.
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
            "%s may not Describe these groups; if they have offsets on %s.*, the backup has none of them: %s",
            settings.security.principal,
            settings.topic_prefix,
            ", ".join(hidden),
        )
    return found


def _own_configs(admin: KafkaAdminClient, topics: list[str]) -> Mapping[str, dict[str, str]]:
    """What was set for each topic, and is no default of its broker. Raises KafkaError."""
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
