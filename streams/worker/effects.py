"""Effects that the worker's state machines ask the shell to perform; the shell answers by calling a
method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streams.messages.candidates import Place
from streams.messages.contracts import Checkpoint
from streams.messages.stored import Outgoing, StoredMessage


@dataclass(frozen=True, slots=True)
class Send:
    """Write these messages in order; then call ``delivered(token)`` once Kafka has all of them."""

    token: int
    messages: Sequence[Outgoing]
    repeated: Mapping[int, StoredMessage] = field(default_factory=dict)
    """Index to the original, for messages that were already on their topic in another partition."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Read which runs are closed and how many partitions the trace topic has; then call
    ``recalled(assignment, …)``.

    Runs closed before the oldest message that may be read again can be left out.
    """

    assignment: int


@dataclass(frozen=True, slots=True)
class Open:
    """Open the model's writer, which fences off every older one, and read the state to continue from; then
    call ``opened(assignment, model, …)``."""

    assignment: int
    model: str


@dataclass(frozen=True, slots=True)
class PublishSnapshot:
    """Publish the snapshot through the model's writer; then call ``published(assignment, model, …)``."""

    assignment: int
    model: str
    snapshot: Outgoing


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Encode the checkpoint and publish it through the model's writer, in one transaction with the snapshot
    of the same state; then call ``saved(assignment, model, …)``."""

    assignment: int
    model: str
    checkpoint: Checkpoint
    snapshot: Outgoing | None
    """The snapshot of the same state; None if it is already on Kafka."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Look these up on Kafka, then call ``found(assignment, …)``.

    ``candidates`` are looked for among the trace events. ``votes`` are looked for among the votes, with their
    retractions and their candidates.
    """

    assignment: int
    candidates: frozenset[Place]
    votes: frozenset[str]


Asynchronous = Recall | Lookup | Open | PublishSnapshot | SaveCheckpoint
Effect = Send | Asynchronous
