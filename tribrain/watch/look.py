"""The state that ``tribrain status`` shows, and what in it needs attention; only reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from streams.errors import BadInput, NoBroker, counted
from streams.kafka.settings import Settings, trainer_group
from streams.messages.codec import decode_snapshot_of
from streams.messages.contracts import (
    AdapterSnapshot,
    Checkpoint,
    RewardSnapshot,
    TextSnapshot,
    snapshot_key,
)
from streams.metrics.disks import Disk
from streams.metrics.snapshots import SnapshotFigures
from streams.spool.place import other_spools, spool_of
from streams.spool.queue import Spool
from tribrain.watch.health import ask

_ANSWER_S = 5.0
_LONGEST_UNSAVED_S = 300.0
"""Ten times a trainer's default interval for saving what it has learnt."""
_LONGEST_SPOOLED_S = 120.0
_KINDS = (RewardSnapshot, TextSnapshot, AdapterSnapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """The messages of a topic that a model's trainers have not committed."""

    messages: int
    oldest_s: float | None
    """Age of the first of them, where it was determined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainers:
    """The trainers of the model, and what they have not committed."""

    members: int | None
    """None where the broker does not report it."""
    unread: dict[str, Unread]
    """Unread messages by topic, without its prefix. Open runs, and votes that wait for videos, hold back the
    committed offsets of traces and votes; those of pairs are not held back for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A spool on this computer, with what waits in it."""

    path: str
    records: int
    oldest_s: float | None
    quarantined: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process that was asked for its health."""

    url: str
    healthy: bool
    said: str


@dataclass(slots=True, kw_only=True)
class Status:
    """All that was found out."""

    broker: str = ""
    """Addresses of the brokers; empty where none was named."""
    problem: str = ""
    """Why Kafka could not be asked."""
    answers: bool = True
    """Whether a broker answers."""
    model: str = ""
    messages: dict[str, int] = field(default_factory=dict)
    """Number of messages by topic, without its prefix."""
    trainers: Trainers | None = None
    snapshots: list[SnapshotFigures] = field(default_factory=list)
    dead_letters: dict[str, int] = field(default_factory=dict)
    """Number of dead letters that were neither replayed nor dismissed, by kind."""
    spools: list[Spooled] = field(default_factory=list)
    kafka_disk: dict[str, int] | None = None
    """The fullest of the brokers' disks; None where they do not report it."""
    full_disks: list[str] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)

    @property
    def attention(self) -> list[str]:
        """Problems that need attention, each in a sentence with its remedy."""
        return [*self._of_kafka(), *self._of_models(), *self._of_this_computer()]

    def _of_kafka(self) -> Iterator[str]:
        if self.problem:
            yield self.problem
        if (trainers := self.trainers) is not None:
            pairs = trainers.unread.get("pairs")
            unread = sum(each.messages for each in trainers.unread.values())
            if trainers.members == 0 and unread:
                yield (
                    f"no trainer of model {self.model!r} runs; {counted(unread, 'message')} waiting; "
                    "start tribrain serve trainer"
                )
            elif pairs is not None and (pairs.oldest_s or 0.0) > _LONGEST_UNSAVED_S:
                yield (
                    f"pairs of {pairs.oldest_s:.0f} s ago are in no checkpoint; look at the trainer's log, "
                    "or ask it with tribrain health"
                )
        if waiting := sum(self.dead_letters.values()):
            yield f"{counted(waiting, 'dead letter')} waiting; tribrain log dead-letters list says why"

    def _of_models(self) -> Iterator[str]:
        for figures in self.snapshots:
            if figures.closings and not figures.is_active:
                yield (
                    f"the gate of {figures.kind} model {figures.model!r} has closed again; "
                    "tribrain log snapshots list shows since when"
                )

    def _of_this_computer(self) -> Iterator[str]:
        for spool in self.spools:
            if spool.problem:
                yield spool.problem
            if (spool.oldest_s or 0.0) > _LONGEST_SPOOLED_S:
                yield (
                    f"{spool.path}: {counted(spool.records, 'event')} waiting for up to "
                    f"{spool.oldest_s:.0f} s; if no run sends them, tribrain log spool flush does"
                )
            if spool.quarantined:
                refused = f"Kafka refused {counted(spool.quarantined, 'event')}"
                yield f"{spool.path}: {refused}; tribrain log spool status says why"
        yield from self.full_disks
        yield from (f"{each.url}: {each.said}" for each in self.services if not each.healthy)

    def as_dict(self) -> dict[str, Any]:
        """The status as ``--json`` prints it."""
        trainers = self.trainers
        return {
            "broker": self.broker or None,
            "problem": self.problem or None,
            "model": self.model,
            "messages": self.messages,
            "trainers": None
            if trainers is None
            else {
                "members": trainers.members,
                "unread": {
                    topic: {"messages": unread.messages, "oldest_s": unread.oldest_s}
                    for topic, unread in trainers.unread.items()
                },
            },
            "snapshots": [_snapshot(figures) for figures in self.snapshots],
            "dead_letters": self.dead_letters,
            "kafka_disk": self.kafka_disk,
            "spools": [
                {
                    "path": spool.path,
                    "records": spool.records,
                    "oldest_s": spool.oldest_s,
                    "quarantined": spool.quarantined,
                    "problem": spool.problem or None,
                }
                for spool in self.spools
            ],
            "services": [
                {"url": each.url, "healthy": each.healthy, "said": each.said} for each in self.services
            ],
            "attention": self.attention,
        }


def look(
    settings: Settings | None, model: str, runs: Sequence[Path], spool_dir: Path | None, urls: Sequence[str]
) -> Status:
    """Ask Kafka, services and spools; records what does not answer. Raises BadInput for a missing folder."""
    status = Status(model=model)
    for folder in runs:
        status.spools += _spools(folder, spool_dir)
        disk = Disk.under(folder)
        if disk.is_filling:
            status.full_disks.append(f"{folder}: {disk.free >> 20} MiB of its disk is free; make some space")
    for url in urls:
        healthy, said = ask(url, _ANSWER_S)
        status.services.append(Service(url=url, healthy=healthy, said=said))
    if settings is not None:
        status.broker = settings.bootstrap_servers
        try:
            _ask_kafka(settings, model, status)
        except BadInput as error:
            status.problem, status.answers = str(error), not isinstance(error, NoBroker)
    return status


def _ask_kafka(settings: Settings, model: str, status: Status) -> None:
    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.disks import fullest_disk
    from streams.kafka.incarnations import topic_ids
    from streams.kafka.reader import read_topic
    from streams.messages.dead_letters import pending_letters

    status.messages, status.trainers = _trainers(settings, model)
    topic_ids(settings, (settings.trace_topic,), _ANSWER_S)  # raises where a backup is only partly restored
    disk = fullest_disk(settings, _ANSWER_S)
    if disk is not None:
        status.kafka_disk = {"free_bytes": disk.free, "size_bytes": disk.size}
        if disk.is_filling:
            status.full_disks.append(
                f"{disk.free >> 20} MiB of Kafka's disk is free; give it more, as its log is kept"
            )
    status.snapshots = _snapshots(settings, model)
    with closing(read_topic(settings, settings.dead_letters_topic, timeout_s=_ANSWER_S)) as messages:
        status.dead_letters = dict(Counter(letter.kind for letter in pending_letters(messages)))


def _trainers(settings: Settings, model: str) -> tuple[dict[str, int], Trainers]:
    from streams.kafka.closed_runs import committed_offsets
    from streams.kafka.groups import members_of
    from streams.kafka.reader import TopicReader

    group = trainer_group(settings, model)
    counts: dict[str, int] = {}
    unread: dict[str, Unread] = {}
    for topic in (settings.trace_topic, settings.votes_topic, settings.pairs_topic):
        name = topic.removeprefix(f"{settings.topic_prefix}.")
        committed = committed_offsets(settings, group, topic, _ANSWER_S)
        with TopicReader(settings, topic, timeout_s=_ANSWER_S) as reader:
            ends = reader.ends()
            counts[name] = sum(ends.values())
            if not committed:
                continue
            behind = {n: end - committed.get(n, 0) for n, end in ends.items() if end > committed.get(n, 0)}
            oldest_s = None
            if topic == settings.pairs_topic and behind:
                reader.seek({number: committed.get(number, 0) for number in behind})
                with closing(reader.read_up()) as messages:
                    first = next(messages, None)
                oldest_s = None if first is None else max(0.0, time.time() - first.timestamp_ms / 1000.0)
            unread[name] = Unread(messages=sum(behind.values()), oldest_s=oldest_s)
    return counts, Trainers(members=members_of(settings, group, _ANSWER_S), unread=unread)


def _snapshots(settings: Settings, model: str) -> list[SnapshotFigures]:
    from streams.snapshots.newest import read_newest

    decoders = {snapshot_key(model, kind.KIND).encode(): partial(decode_snapshot_of, kind) for kind in _KINDS}
    newest = read_newest(settings, decoders, _ANSWER_S)
    return [
        SnapshotFigures.of(snapshot, message.timestamp_ms / 1000.0)
        for message, snapshot in (newest[key] for key in decoders if key in newest)
        if not isinstance(snapshot, Checkpoint)
    ]


def _spools(folder: Path, spool_dir: Path | None) -> Iterator[Spooled]:
    """The spools of a run, or of all runs below a folder, that exist."""
    if not folder.is_dir():
        raise BadInput(f"--runs {folder}: no such folder; give one that holds runs")
    outs = [path.parent for path in sorted(folder.rglob("trace.jsonl"))]
    paths = []
    for out in outs:
        spool = spool_of(out, spool_dir)
        paths += [spool] if spool.exists() else []
        paths += other_spools(out, spool)
    for path in paths:
        try:
            with Spool(path, create=False) as opened:
                found = opened.status()
        except BadInput as error:
            yield Spooled(path=str(path), records=0, oldest_s=None, quarantined=0, problem=str(error))
            continue
        yield Spooled(
            path=str(path),
            records=sum(found.waiting.values()),
            oldest_s=found.oldest_age_s,
            quarantined=sum(map(len, found.quarantined.values())),
        )


def _snapshot(figures: SnapshotFigures) -> dict[str, Any]:
    return {
        "kind": figures.kind,
        "version": figures.version,
        "gate": "active" if figures.is_active else "shadow",
        "evidence": figures.evidence,
        "published_s": figures.published_s,
        "log_loss": figures.log_losses.get("model"),
        "log_loss_critics_mean": figures.log_losses.get("critics_mean"),
        "labels": dict(figures.labels),
    }
