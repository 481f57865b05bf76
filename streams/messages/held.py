"""Collects what the snapshots topic still holds of the models that weigh critics, by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from streams.messages.checkpoints import decode_checkpoint
from streams.messages.codec import ContractError, decode_snapshot
from streams.messages.contracts import Checkpoint, RewardSnapshot
from streams.messages.stored import StoredMessage


@dataclass(slots=True)
class Held:
    """The messages of one model, oldest first. Snapshots are usable, each newer than all before it."""

    snapshots: list[tuple[StoredMessage, RewardSnapshot]] = field(default_factory=list)
    packed_checkpoints: list[StoredMessage] = field(default_factory=list)
    packed_bases: dict[str, StoredMessage] = field(default_factory=dict)
    """Checksum of a base checkpoint to its message."""

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The usable checkpoints, one at a time, since each may take tens of MB unpacked."""
        for message in self.packed_checkpoints:
            with suppress(ContractError):
                yield decode_checkpoint(message.value, message.source)

    def base(self, checksum: str) -> Checkpoint | None:
        """The base checkpoint with this checksum, or None if the topic no longer holds it."""
        message = self.packed_bases.get(checksum)
        return None if message is None else decode_checkpoint(message.value, message.source)


def held_of(messages: Iterable[StoredMessage]) -> dict[str, Held]:
    """Messages of the snapshots topic, by model. Other kinds are skipped without decoding."""
    by_model: dict[str, Held] = {}
    for message in messages:
        kind, _, name = (message.key or b"").decode(errors="replace").partition(":")
        if kind == "bt":
            with suppress(ContractError):
                snapshot = decode_snapshot(message.value, message.source)
                snapshots = by_model.setdefault(snapshot.model, Held()).snapshots
                if not snapshots or snapshot.version > snapshots[-1][1].version:
                    snapshots.append((message, snapshot))
        elif kind == "checkpoint":
            by_model.setdefault(name, Held()).packed_checkpoints.append(message)
        elif kind == "base":
            checksum, _, model = name.partition(":")
            by_model.setdefault(model, Held()).packed_bases[checksum] = message
    return by_model
