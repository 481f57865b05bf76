"""What the worker's state machine asks its shell to do; answers come back by methods of the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streams.messages.candidates import Place
from streams.messages.contracts import Checkpoint
from streams.messages.stored import Outgoing, StoredMessage


@dataclass(frozen=True, slots=True)
class Send:
    """Write these messages in their order; then ``delivered(token)`` once Kafka has them all."""

    token: int
    messages: Sequence[Outgoing]
    repeated: Mapping[int, StoredMessage] = field(default_factory=dict)
    """Of those that were on their topic already, in another partition: index to where."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Read which runs were closed, at least since the oldest message that may be read again, and how many
    partitions the trace topic has; then ``recalled(assignment, …)``."""

    assignment: int


@dataclass(frozen=True, slots=True)
class Open:
    """Open the model's writer, which fences off every older one, and read what it goes on from; then
    ``opened(assignment, model, …)``."""

    assignment: int
    model: str


@dataclass(frozen=True, slots=True)
class PublishSnapshot:
    """Publish it through the model's writer; then ``published(assignment, model, …)``."""

    assignment: int
    model: str
    snapshot: Outgoing


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Encode it and publish it, in one transaction with the snapshot of the same state, through the model's
    writer; then ``saved(assignment, model, …)``."""

    assignment: int
    model: str
    checkpoint: Checkpoint
    snapshot: Outgoing | None
    """None where it is on Kafka already."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Look for these candidates among the trace events, for these votes and what takes them back among the
    votes, and for the candidates of these votes; then ``found(assignment, …)``."""

    assignment: int
    candidates: frozenset[Place]
    votes: frozenset[str]


Asynchronous = Recall | Lookup | Open | PublishSnapshot | SaveCheckpoint
Effect = Send | Asynchronous
