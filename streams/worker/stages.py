"""What the worker expects of those who form and learn; it knows nothing else of them."""

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
    """What came of one message of the trace topic."""

    run: RunRevision | None = None
    """The run that has to be read again from this message on while it is open; null where nothing has."""
    outgoing: Sequence[Outgoing] = ()
    closed: Outgoing | None = None
    """The mark that the run is done with, to be written once ``outgoing`` is on Kafka."""
    given_up: bool = False
    """Whether the run is done with once ``outgoing`` is on Kafka, and needs no mark."""


class TraceStage(Protocol):
    """Trace events in, pairs out. What a message raises leaves it as it was, and is that message's fault."""

    partitions: int | None

    def on_message(self, message: StoredMessage) -> TraceStep: ...
    def on_tick(self, elapsed_s: float, timeout_s: float) -> tuple[list[Outgoing], list[TraceStep]]:
        """Ends of silent runs to be published, and a step for each run that is given up."""

    def recall(self, closed: Iterable[RunClosed]) -> None: ...
    def forget(self) -> None: ...


class VoteStep(Struct, frozen=True):
    """What came of a vote and of what was found for it."""

    outgoing: Sequence[Outgoing] = ()
    missing: Sequence[str] = ()
    """What has not come yet, in words; the vote is then to be looked up again."""


class VoteStage(Protocol):
    """Votes in, pairs out. What a message raises is that message's fault."""

    def read(self, message: StoredMessage) -> Vote | Outgoing | None:
        """The message decoded, or a dead letter; None for a vote of which nothing comes."""

    def form(self, message: StoredMessage, vote: Vote, found: Found) -> VoteStep: ...
    def give_up(self, message: StoredMessage, why: str) -> Outgoing:
        """The dead letter of a vote that cannot be used."""

    def forget(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of messages for one model."""

    pairs: int
    """How many pairs were news."""
    changed: bool
    """Whether the model's state is another one than before, and what was learnt needs a checkpoint."""
    dead_letters: list[tuple[StoredMessage, Outgoing]] = field(default_factory=list)
    """Messages that could not be learnt; the model is as if they had never come."""


class PairStage(Protocol):
    """Pairs in, snapshots and checkpoints out, for several reward models."""

    def read(self, message: StoredMessage) -> PairMessage | Outgoing | None:
        """The message decoded, or a dead letter; None for a model that is another trainer's."""

    def restore(self, model: str, recovery: Recovery) -> None: ...
    def learn(self, model: str, messages: Sequence[tuple[StoredMessage, PairMessage]]) -> Learnt:
        """Learn what the model has not consumed yet. What a message raises is that message's fault."""

    def take_snapshot(self, model: str) -> Outgoing | None:
        """None where the newest snapshot has all that was learnt."""

    def checkpoint(self, model: str) -> Checkpoint: ...
    def forget(self) -> None: ...


class Writer(Protocol):
    """Where one model's messages are read from and published; opening it fences off every older owner."""

    async def open(self) -> Recovery: ...
    async def publish(self, *messages: Outgoing) -> None: ...
    async def close(self) -> None: ...
