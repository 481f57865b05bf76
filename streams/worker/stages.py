"""The interfaces of pair forming and learning; the worker knows nothing else about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from streams.messages.candidates import Found
from streams.messages.checkpoints import Recovery
from streams.messages.contracts import Checkpoint, PairMessage, RunClosed, RunRevision
from streams.messages.stored import Outgoing, StoredMessage
from streams.messages.votes import Vote


def first_of_each(messages: Iterable[StoredMessage]) -> dict[int, StoredMessage]:
    """Partition to its first message."""
    first: dict[int, StoredMessage] = {}
    for message in messages:
        held = first.setdefault(message.partition, message)
        if message.offset < held.offset:
            first[message.partition] = message
    return first


class TraceStep(Struct, frozen=True):
    """The result of one message of the trace topic."""

    run: RunRevision | None = None
    """The run that must be read again from this message on while it is open; None if nothing must."""
    outgoing: Sequence[Outgoing] = ()
    closed: Outgoing | None = None
    """The mark that the run is closed, to be written once ``outgoing`` is on Kafka."""
    given_up: bool = False
    """Whether the run is closed once ``outgoing`` is on Kafka, without a mark."""


class TraceStage(Protocol):
    """Trace events in, pairs out. An exception is the message's fault and leaves the state unchanged."""

    partitions: int | None

    def on_message(self, message: StoredMessage) -> TraceStep: ...
    def on_tick(self, elapsed_s: float, timeout_s: float) -> tuple[list[Outgoing], list[TraceStep]]:
        """Run ends to publish for silent runs, and a step for each run that is given up."""

    def recall(self, closed: Iterable[RunClosed]) -> None: ...
    def forget(self) -> None: ...


class VoteStep(Struct, frozen=True):
    """The result of a vote and of its lookup."""

    outgoing: Sequence[Outgoing] = ()
    """Messages to send. If something is missing: the withdrawal to send if the vote is given up."""
    missing: Sequence[str] = ()
    """What has not arrived yet, in words; if anything, the vote must be looked up again."""


class VoteStage(Protocol):
    """Votes in, pairs out. An exception is the message's fault."""

    def read(self, message: StoredMessage) -> Vote | Outgoing | None:
        """The decoded message, or a dead letter; None for a vote that has no result."""

    def form(self, message: StoredMessage, vote: Vote, found: Found) -> VoteStep: ...
    def give_up(self, message: StoredMessage, why: str) -> Outgoing:
        """The dead letter of a vote that cannot be used."""

    def forget(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Learnt:
    """The result of learning messages for one model."""

    pairs: int
    """How many pairs were new."""
    changed: bool
    """Whether the model's state has changed and needs a checkpoint."""
    dead_letters: list[tuple[StoredMessage, Outgoing]] = field(default_factory=list)
    """Messages that could not be learnt; they left the model unchanged."""


class PairStage(Protocol):
    """Pairs in, snapshots and checkpoints out, for several reward models."""

    def read(self, message: StoredMessage) -> PairMessage | Outgoing | None:
        """The decoded message, or a dead letter; None for a model of another trainer."""

    def restore(self, model: str, recovery: Recovery) -> None: ...
    def learn(self, model: str, messages: Sequence[tuple[StoredMessage, PairMessage]]) -> Learnt:
        """Learn what the model has not consumed yet. An exception is the message's fault."""

    def take_snapshot(self, model: str) -> Outgoing | None:
        """The snapshot to publish; None if the newest one already contains everything learnt."""

    def checkpoint(self, model: str) -> Checkpoint: ...
    def forget(self) -> None: ...


class Writer(Protocol):
    """Reads and publishes one model's messages; opening it fences off every older owner."""

    async def open(self) -> Recovery: ...
    async def publish(self, *messages: Outgoing) -> None: ...
    async def close(self) -> None: ...
