"""Restores a backup to a broker with empty topics: writes every message at its offset, then reads it back.

An interrupted restore can be continued: a message on the restores topic names the backup, and the end of each
partition shows the progress. Until the restore is finished, no trainer starts.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import monotonic, sleep

import msgspec
from aiokafka.errors import KafkaError as AsyncKafkaError
from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, NoError

from streams.backup.archive import Archive, Committed, Contents
from streams.backup.collect import effects_first, require_apache_kafka
from streams.backup.rewriter import Rewriter
from streams.errors import BadInput
from streams.fail_points import reach
from streams.kafka.failures import failure, is_refusal
from streams.kafka.incarnations import ids_given_by_kafka
from streams.kafka.reader import TopicReader
from streams.kafka.restores import Restore, Restores, read_restores, write_restore
from streams.kafka.settings import Settings, trainer_group
from streams.kafka.topics import TopicOptions, connect_admin, make_topics
from streams.messages.stored import LogRecord

_ADMIN_S = 10.0
_PATIENCE_S = 30.0
_LOOK_AGAIN_S = 0.1
_WHILE_RESTORED = {
    # Accept the old timestamps, however old, and however far ahead of this broker's clock.
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "message.timestamp.before.max.ms": str(2**63 - 1),
    # Delete nothing before it is compared.
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    # With another codec a batch may be larger; a broker accepts no request above 100 MB.
    "max.message.bytes": "100000000",
}
_OF_THE_CLUSTER = ("min.insync.replicas", "leader.", "follower.", "remote.", "local.")
"""Prefixes of settings that depend on the original cluster, and are not restored."""

OnDone = Callable[[int], None]
"""Called with the number of further messages written or compared."""
_Place = tuple[str, int]
"""Topic and number of a partition."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore."""

    resumed: bool
    """Whether it continued an interrupted restore."""
    records: int


def restore(settings: Settings, archive: Archive, on_done: OnDone = lambda _: None) -> Restored:
    """Create the topics, write every message at its offset, compare, and restore the groups' offsets.

    ``on_done`` counts every message twice. Raises BadInput if the prefix differs, a topic holds anything that
    does not belong to this restore, a trainer is running, or the broker is unreachable or in-memory.
    """
    contents = archive.contents
    if contents.topic_prefix != settings.topic_prefix:
        raise BadInput(
            f"{archive.path}: is a backup of the topics {contents.topic_prefix}.*, which its snapshots name; "
            f"expected {settings.topic_prefix}.*: set TRIBRAIN_TOPIC_PREFIX={contents.topic_prefix}"
        )
    with connect_admin(settings, _ADMIN_S) as admin, _kafka_errors_named(settings):
        require_apache_kafka(admin, settings)
        _require_no_trainers(admin, settings, contents)
        resumed = _begin(admin, settings, archive)
        written = asyncio.run(_write(settings, archive, on_done))
        for topic in contents.topics:
            _compare(settings, contents, topic, written, on_done)
        _set_configs(admin, contents)
        for group, committed in contents.groups.items():
            _set_offsets(admin, group, committed)
        reach("restore.offsets-set")
        ids = _stands_for(settings, contents)
        write_restore(settings, Restore(backup=archive.sha256, is_finished=True, stands_for=ids))
    return Restored(resumed=resumed, records=contents.records)


def _require_no_trainers(admin: KafkaAdminClient, settings: Settings, contents: Contents) -> None:
    ours = trainer_group(settings, "")
    names = [group["group_id"] for group in admin.list_groups()]
    names = [name for name in names if name in contents.groups or name.startswith(ours)]
    described = admin.describe_groups(names) if names else {}
    for name in names:
        if described[name]["members"]:
            raise BadInput(
                f"group {name!r} is active at {settings.bootstrap_servers}; stop its trainers, restore, and "
                "start them again"
            )


def _begin(admin: KafkaAdminClient, settings: Settings, archive: Archive) -> bool:
    """Create the topics; returns whether they already exist from an interrupted restore of the same
    backup."""
    contents = archive.contents
    there = ids_given_by_kafka(settings, [*effects_first(settings), settings.restores_topic])
    restores = Restores()
    if there.pop(settings.restores_topic, None) is not None:
        restores = read_restores(settings)
    else:
        make_topics(settings, admin, {settings.restores_topic: TopicOptions(1, {"retention.ms": "-1"})})
    unfinished = restores.unfinished
    if unfinished is not None and unfinished.backup == archive.sha256:
        ids = {
            topic_id: contents.topics[name].topic_id
            for name, topic_id in there.items()
            if name in contents.topics
        }
        if ids and ids == unfinished.stands_for:
            return True
    _require_empty(settings, there, archive, unfinished)
    write_restore(settings, Restore(backup=archive.sha256, is_finished=False, stands_for={}))
    reach("restore.begun")
    # The empty topics may have other partitions and settings: recreate them.
    _delete(admin, there.keys() & contents.topics.keys())
    made = {
        name: TopicOptions(len(topic.partitions), _kept(topic.configs) | _WHILE_RESTORED)
        for name, topic in contents.topics.items()
    }
    make_topics(settings, admin, made)
    reach("restore.topics-made")
    ids = _stands_for(settings, contents)
    write_restore(settings, Restore(backup=archive.sha256, is_finished=False, stands_for=ids))
    return False


def _kept(configs: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in configs.items() if not name.startswith(_OF_THE_CLUSTER)}


def _require_empty(
    settings: Settings, topics: Iterable[str], archive: Archive, unfinished: Restore | None
) -> None:
    for topic in topics:
        with TopicReader(settings, topic) as reader:
            end = sum(reader.ends().values())
        if end and unfinished is not None and unfinished.backup == archive.sha256:
            raise BadInput(
                f"topic {topic!r} at {settings.bootstrap_servers} ends at offset {end}, which no restore of "
                "this backup has written: something else writes to it; stop all runs, delete the topics "
                f"{settings.topic_prefix}.*, and restore again"
            )
        if end and unfinished is not None:
            raise BadInput(
                f"topic {topic!r} at {settings.bootstrap_servers} holds part of another backup, with SHA-256 "
                f"{unfinished.backup}; restore that one, or delete the topics {settings.topic_prefix}.*"
            )
        if end:
            raise BadInput(
                f"topic {topic!r} at {settings.bootstrap_servers} ends at offset {end}; a backup is restored "
                "only to empty topics: give another broker"
            )


def _delete(admin: KafkaAdminClient, topics: Iterable[str]) -> None:
    names = set(topics)
    if names:
        admin.delete_topics(sorted(names))
    deadline_s = monotonic() + _PATIENCE_S
    while names & set(admin.list_topics()):
        if monotonic() > deadline_s:
            raise BadInput(f"the broker has not deleted the empty topics within {_PATIENCE_S:g} s; try again")
        sleep(_LOOK_AGAIN_S)


def _stands_for(settings: Settings, contents: Contents) -> dict[str, str]:
    """New topic id to the id of the backed-up topic."""
    given = ids_given_by_kafka(settings, contents.topics)
    return {given[name]: topic.topic_id for name, topic in contents.topics.items()}


@dataclass(slots=True)
class _Sum:
    """Count and digest of a partition's messages, for comparison."""

    records: int
    digest: hashlib._Hash

    @classmethod
    def of_nothing(cls) -> _Sum:
        return cls(0, hashlib.sha256())

    def add(self, records: Sequence[LogRecord]) -> int:
        for record in records:
            self.digest.update(msgspec.msgpack.encode(record))
        self.records += len(records)
        return len(records)


async def _write(settings: Settings, archive: Archive, on_done: OnDone) -> dict[_Place, _Sum]:
    """Write the backup; returns the expected content of each partition.

    Raises KafkaError of either client, and BadInput.
    """
    ends = {
        (name, number): partition.end
        for name, topic in archive.contents.topics.items()
        for number, partition in enumerate(topic.partitions)
    }
    written = {place: _Sum.of_nothing() for place in ends}
    async with Rewriter(settings) as rewriter:
        for place, there in (await rewriter.begin(ends)).items():
            if there > ends[place]:
                raise BadInput(
                    f"topic {place[0]!r} ends at offset {there} of partition {place[1]}, beyond the backup's "
                    f"{ends[place]}: something else writes to it; delete the topics, and restore again"
                )
        for block in archive.blocks():
            place = block.topic, block.partition
            await rewriter.write(*place, block.records)
            on_done(written[place].add(block.records))
            reach("restore.block-written")
        for place, end in ends.items():
            await rewriter.fill(*place, end)
    return written


def _compare(
    settings: Settings, contents: Contents, topic: str, written: Mapping[_Place, _Sum], on_done: OnDone
) -> None:
    """Raises BadInput if the topic's messages differ from those that were written."""
    ends = {number: partition.end for number, partition in enumerate(contents.topics[topic].partitions)}
    found = {number: _Sum.of_nothing() for number in ends}
    with TopicReader(settings, topic) as reader:
        held = reader.ends()
        with closing(reader.batches_as_written(held)) as batches:
            for number, records in batches:
                on_done(found[number].add(records))
    for number, read in found.items():
        due = written[topic, number]
        if held.get(number) != ends[number] or read.digest.digest() != due.digest.digest():
            raise BadInput(
                f"topic {topic!r} differs from the backup in partition {number}: {read.records} "
                f"messages up to offset {held.get(number)}, expected {due.records} up to {ends[number]}; "
                "stop anything else that writes to it, delete the topics, and restore again"
            )


def _set_configs(admin: KafkaAdminClient, contents: Contents) -> None:
    changes = []
    for name, topic in contents.topics.items():
        due = {
            key: (AlterConfigOp.SET, topic.configs[key])
            if key in topic.configs
            else (AlterConfigOp.DELETE, None)
            for key in _WHILE_RESTORED
        }
        changes.append(ConfigResource(ConfigResourceType.TOPIC, name, due))
    for name, answer in admin.alter_configs(changes)["topic"].items():
        if answer != "OK":
            raise BadInput(f"topic {name!r}: its settings cannot be set: {answer}")


def _set_offsets(admin: KafkaAdminClient, group: str, committed: Iterable[Committed]) -> None:
    offsets = {
        TopicPartition(each.topic, each.partition): OffsetAndMetadata(each.offset, each.metadata, -1)
        for each in committed
    }
    deadline_s = monotonic() + _PATIENCE_S
    while True:
        try:
            answers = admin.alter_group_offsets(group, offsets)
            errors = [error(f"{place}") for place, error in answers.items() if error is not NoError]
            if not errors:
                return
            raise errors[0]
        except KafkaError as error:
            # A broker that has just started has no coordinator for the group yet.
            if not error.retriable or monotonic() > deadline_s:
                raise
            sleep(_LOOK_AGAIN_S)


@contextmanager
def _kafka_errors_named(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (KafkaError, AsyncKafkaError, TimeoutError) as error:
        if isinstance(error, TimeoutError) or error.retriable or is_refusal(error):
            raise failure(settings, error) from None
        raise BadInput(f"the backup cannot be restored to {settings.bootstrap_servers}: {error}") from None
