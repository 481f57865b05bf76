"""Every command's access to Kafka: its settings, and a check that the broker allows what it needs.

``SERVICES`` is the table of least rights in docs/how-to/secured-kafka.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from streams.errors import BadInput
from streams.kafka.probe import check_access
from streams.kafka.rights import CLUSTER, Operation, Right
from streams.kafka.settings import Settings, trainer_group
from streams.messages.contracts import TopicKind, snapshot_key

TOPICS = ("trace", "pairs", "snapshots", "votes", "dead-letters", "closed-runs", "finetune")
RESTORES = "restores"
"""A topic with the ids that restores gave anew, for readers that compare a topic's id with an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaUse:
    """What a command does on Kafka. Topics are named without the prefix."""

    read: Sequence[str] = ()
    write: Sequence[str] = ()
    manage: Mapping[Operation, Sequence[str]] = field(default_factory=dict)
    """Other operations on topics, each with the topics."""
    group: Operation | None = None
    """What it does with the consumer group of the model's trainers."""
    publishes: TopicKind | None = None
    """The kind of snapshots whose one writer it is, by a transactional id."""
    transactional_id: str | None = None
    """Another transactional id that it writes with, without the prefix."""
    cluster: Operation | None = None

    def rights(self, settings: Settings, model: str) -> list[Right]:
        prefix = settings.topic_prefix
        rights = [Right("Read", "topic", f"{prefix}.{name}") for name in self.read]
        rights += [Right("Write", "topic", f"{prefix}.{name}") for name in self.write]
        for operation, names in self.manage.items():
            rights += [Right(operation, "topic", f"{prefix}.{name}") for name in names]
        if self.group is not None:
            rights.append(Right(self.group, "group", trainer_group(settings, model)))
        if self.publishes is not None:
            key = snapshot_key(model, self.publishes)
            rights.append(Right("Write", "transactional id", f"{prefix}.{key}"))
        if self.transactional_id is not None:
            rights.append(Right("Write", "transactional id", f"{prefix}.{self.transactional_id}"))
        if self.cluster is not None:
            rights.append(Right(self.cluster, "cluster", CLUSTER))
        return rights


SERVICES: Mapping[str, KafkaUse] = {
    "serve trainer": KafkaUse(
        read=("trace", "pairs", "votes", "snapshots", "closed-runs", RESTORES),
        write=("pairs", "snapshots", "closed-runs", "dead-letters"),
        group="Read",
        publishes="bt",
    ),
    "run simulated, run subprocess, run wow, suite run, run rescore": KafkaUse(
        read=("trace", "snapshots"), write=("trace",)
    ),
    "ui, serve page": KafkaUse(
        read=("trace", "pairs", "votes", "snapshots", "dead-letters"), write=("votes",)
    ),
    "serve text": KafkaUse(read=("pairs", "snapshots", RESTORES), write=("snapshots",), publishes="text"),
    "serve lora": KafkaUse(read=("pairs", "snapshots", RESTORES), write=("snapshots",), publishes="lora"),
    "data finetune": KafkaUse(read=("trace", "finetune", RESTORES), write=("finetune",)),
    "log publish": KafkaUse(write=("trace",)),
    "log vote --import": KafkaUse(read=("trace", "votes"), write=("votes",)),
    "log vote --export": KafkaUse(read=("votes",)),
    "run end": KafkaUse(read=("trace", "closed-runs"), write=("trace",)),
    "log verify": KafkaUse(read=("trace", "pairs", "votes", "snapshots"), group="Describe"),
    "log replay --source pairs": KafkaUse(read=("pairs", "snapshots")),
    "log replay --source trace": KafkaUse(read=("trace", "votes")),
    "log snapshots list, log snapshots show": KafkaUse(read=("snapshots",)),
    "log snapshots verify": KafkaUse(read=("pairs", "snapshots")),
    "log snapshots rollback": KafkaUse(read=("pairs", "snapshots"), write=("pairs",)),
    "log dead-letters list, log dead-letters show": KafkaUse(read=("dead-letters",)),
    "log dead-letters replay": KafkaUse(
        read=("dead-letters",), write=("trace", "pairs", "votes", "dead-letters")
    ),
    "log dead-letters dismiss": KafkaUse(read=("dead-letters",), write=("dead-letters",)),
    "status": KafkaUse(
        read=("trace", "votes", "pairs", "snapshots", "dead-letters", RESTORES), group="Describe"
    ),
    "log topics create": KafkaUse(manage={"Create": TOPICS, "Describe": TOPICS, "AlterConfigs": TOPICS}),
    "log backup": KafkaUse(
        read=(*TOPICS, RESTORES),
        manage={"DescribeConfigs": TOPICS},
        group="Describe",
        # Else Kafka leaves out the groups that it hides.
        cluster="Describe",
    ),
    "log restore": KafkaUse(
        read=(*TOPICS, RESTORES),
        write=(*TOPICS, RESTORES),
        manage={"Create": (*TOPICS, RESTORES), "Delete": TOPICS, "AlterConfigs": TOPICS},
        group="Read",
        transactional_id="restore",
        cluster="Describe",
    ),
    "log users create": KafkaUse(cluster="Alter"),
}
"""Command, or several with the same needs, to what it needs."""
_BY_COMMAND = {command: needed for names, needed in SERVICES.items() for command in names.split(", ")}


def open_kafka(
    bootstrap_servers: str | None,
    command: str | None = None,
    model: str = "default",
    *,
    given_by: str = "--bootstrap-servers host:port",
) -> Settings:
    """The settings with which ``command`` reaches Kafka, checked against the broker.

    Without a command no rights are checked. ``given_by`` is how the user names a broker. Raises BadInput
    where the settings cannot be used, or the broker refuses this client or does not allow what the command
    needs. A broker that is away is not an error here.
    """
    settings = Settings.from_environment(bootstrap_servers, given_by=given_by)
    check_access(settings, rights_of(command, settings, model) if command else ())
    return settings


def command_called(name: str) -> str:
    """The command of ``SERVICES`` with this name. Raises BadInput where there is none."""
    if name not in _BY_COMMAND:
        close = get_close_matches(name, _BY_COMMAND, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(_BY_COMMAND)}"
        raise BadInput(f"{name!r} is no command that needs rights on Kafka; {hint}")
    return name


def rights_of(command: str, settings: Settings, model: str = "default") -> list[Right]:
    """The least rights of a command."""
    return _BY_COMMAND[command].rights(settings, model)
