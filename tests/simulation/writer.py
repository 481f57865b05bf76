"""A model's writer over the simulated Kafka: ``FencedWriter`` in steps, between which others act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.messages.checkpoints import Recovery, decode_checkpoint
from streams.messages.codec import decode_snapshot
from streams.messages.contracts import snapshot_key
from streams.messages.stored import Outgoing
from streams.worker.effects import Open, PublishSnapshot, SaveCheckpoint
from tests.simulation.kafka import FencedOff, SimKafka


class SimWriter:
    """Of ``model``, for the worker of this number."""

    def __init__(self, kafka: SimKafka, model: str, worker: int) -> None:
        self._kafka, self._model, self._worker = kafka, model, worker
        self._keys = [snapshot_key(model).encode(), snapshot_key(model, "checkpoint").encode()]
        self._epoch = 0
        self._newest: list[bytes | None] = []

    def open(self) -> None:
        """Fence off every older one."""
        self._epoch = self._kafka.open_writer(self._model, self._worker)

    def read(self) -> Recovery:
        """What the model goes on from; comes after ``open``."""
        self._newest = self._on_kafka()
        snapshot, checkpoint = [self._kafka.newest(key) for key in self._keys]
        return Recovery(
            decode_checkpoint(checkpoint.value, checkpoint.source) if checkpoint else None,
            decode_snapshot(snapshot.value, snapshot.source).version if snapshot else 0,
        )

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """One transaction. Raises FencedOff."""
        self._kafka.publish(self._model, self._epoch, messages)
        self._newest = self._on_kafka()

    def time_out(self) -> bool:
        """Kafka gives up a transaction that was open for too long; False where the writer was fenced off."""
        return self._kafka.time_out(self._model, self._epoch)

    def may_open_again(self) -> bool:
        """Whether nobody was opened since the time-out."""
        timed_out = self._kafka.timed_out.get(self._model) == self._epoch
        return timed_out and self._newest == self._on_kafka()

    def open_again(self) -> None:
        """Raises FencedOff where somebody was, meanwhile."""
        before = self._epoch, self._newest
        self.open()
        self.read()
        if (self._epoch - 1, self._newest) != before:
            raise FencedOff(self._model)

    def _on_kafka(self) -> list[bytes | None]:
        found = [self._kafka.newest(key) for key in self._keys]
        return [None if message is None else message.value for message in found]


@dataclass(slots=True)
class Opening:
    """An Open under way: the writer is there, then opened, then read."""

    effect: Open
    writer: SimWriter
    is_opened: bool = False


@dataclass(slots=True)
class OpeningAgain:
    """A publication whose transaction has timed out."""

    effect: PublishSnapshot | SaveCheckpoint
    writer: SimWriter
    is_allowed: bool = False
