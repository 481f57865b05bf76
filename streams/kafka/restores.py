"""The record of restores on a broker: messages on a topic of their own, which only a restore creates.

The messages of a restored topic have their old offsets, so offsets recorded in snapshots stay valid. But
Kafka gives the topic a new id. These messages map each new id to the old one; an id they do not contain
belongs to a topic that was not restored.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

import msgspec

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.stored import Outgoing

_SCHEMA = "tribrain.restore/1"


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a restore; each step is one message."""

    schema: str = _SCHEMA
    backup: str
    """SHA-256 of the backup, in hexadecimal."""
    is_finished: bool
    stands_for: dict[str, str]
    """New topic id to the id of the backed-up topic. Empty until the topics are created."""


@dataclass(slots=True)
class Restores:
    """All restores on a broker."""

    stands_for: dict[str, str] = field(default_factory=dict)
    """New topic id to old, for all restores together."""
    last: Restore | None = None

    @property
    def unfinished(self) -> Restore | None:
        """The last restore if it has not finished, otherwise None."""
        return self.last if self.last is not None and not self.last.is_finished else None


def read_restores(settings: Settings, timeout_s: float = 10.0) -> Restores:
    """Read the restores topic. Raises BadInput if it does not exist or holds anything else."""
    restores = Restores()
    with closing(read_topic(settings, settings.restores_topic, timeout_s=timeout_s)) as messages:
        for message in messages:
            try:
                restore = msgspec.json.decode(message.value, type=Restore)
            except msgspec.MsgspecError as error:
                raise BadInput(f"{message.source} is not a message of a restore: {error}") from None
            if restore.schema != _SCHEMA:
                raise BadInput(
                    f"{message.source} has the schema {restore.schema!r}; this TriBrain reads {_SCHEMA}: "
                    "use a newer version"
                )
            restores.stands_for |= restore.stands_for
            restores.last = restore
    return restores


def write_restore(settings: Settings, restore: Restore) -> None:
    """Add a step, and wait until Kafka has it. Raises BadInput if Kafka does not accept it."""
    list(produce(settings, [Outgoing(settings.restores_topic, None, msgspec.json.encode(restore))]))
