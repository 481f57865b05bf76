"""What was restored on a broker from a backup: messages of a topic of their own, which only a restore makes.

The messages of a restored topic stand at their old offsets, so the stamps of offsets in snapshots hold for
it. But Kafka gives it a new id. These messages say which old id each new one stands for; an id that they do
not name is that of a topic which no restore has made.
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
    """A restore as far as it has come; each step is a message."""

    schema: str = _SCHEMA
    backup: str
    """SHA-256 of the backup, in hexadecimal."""
    is_finished: bool
    stands_for: dict[str, str]
    """The id that Kafka gave to a restored topic, to the id of the one that was backed up. Empty until the
    topics are made."""


@dataclass(slots=True)
class Restores:
    """All that was restored on a broker."""

    stands_for: dict[str, str] = field(default_factory=dict)
    """Of all restores together."""
    last: Restore | None = None

    @property
    def unfinished(self) -> Restore | None:
        """The last one, where it has not come to its end."""
        return self.last if self.last is not None and not self.last.is_finished else None


def read_restores(settings: Settings, timeout_s: float = 10.0) -> Restores:
    """What the topic of restores says. Raises BadInput where there is none, or it holds anything else."""
    restores = Restores()
    with closing(read_topic(settings, settings.restores_topic, timeout_s=timeout_s)) as messages:
        for message in messages:
            try:
                restore = msgspec.json.decode(message.value, type=Restore)
            except msgspec.MsgspecError as error:
                raise BadInput(f"{message.source} is no message of a restore: {error}") from None
            if restore.schema != _SCHEMA:
                raise BadInput(
                    f"{message.source} is a message of {restore.schema!r}; this TriBrain reads {_SCHEMA}: "
                    "take a newer one"
                )
            restores.stands_for |= restore.stands_for
            restores.last = restore
    return restores


def write_restore(settings: Settings, restore: Restore) -> None:
    """Add a step, and wait until Kafka has it. Raises BadInput where it does not take it."""
    list(produce(settings, [Outgoing(settings.restores_topic, None, msgspec.json.encode(restore))]))
