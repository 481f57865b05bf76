"""The one writer of a reward model's messages on the snapshots topic, by what it writes."""

from __future__ import annotations

from functools import partial
from typing import Generic

from streams.kafka.settings import Settings
from streams.messages.checkpoints import Recovery, decode_checkpoint
from streams.messages.codec import decode_snapshot, decode_snapshot_of
from streams.messages.contracts import Checkpoint, snapshot_key
from streams.snapshots.fenced_writer import FencedWriter
from streams.snapshots.serving import Snapshot


class WriterOf(Generic[Snapshot]):
    """The writer of a model's snapshots of one kind, each of which is its learner's checkpoint, too."""

    def __init__(self, kind: type[Snapshot], settings: Settings, model: str) -> None:
        self._key = snapshot_key(model, kind.KIND)
        self._writer = FencedWriter(
            settings, model, {self._key: partial(decode_snapshot_of, kind)}, compression="gzip"
        )
        self.publish = self._writer.publish
        self.close = self._writer.close

    async def open(self) -> Snapshot | None:
        """The newest snapshot; None where there is none. Otherwise as ``FencedWriter.open``."""
        newest: Snapshot | None = (await self._writer.open()).get(self._key)
        return newest


class SnapshotWriter:
    """The writer of a model's reward snapshots and of its checkpoints."""

    def __init__(self, settings: Settings, model: str) -> None:
        self._snapshots, self._checkpoints = snapshot_key(model), snapshot_key(model, Checkpoint.KIND)
        self._writer = FencedWriter(
            settings,
            model,
            {self._snapshots: decode_snapshot, self._checkpoints: decode_checkpoint},
            compression=None,  # snapshots are small, and checkpoints compressed
        )
        self.publish = self._writer.publish
        self.close = self._writer.close

    async def open(self) -> Recovery:
        """What the model goes on from. Otherwise as ``FencedWriter.open``."""
        newest = await self._writer.open()
        snapshot = newest.get(self._snapshots)
        return Recovery(newest.get(self._checkpoints), snapshot.version if snapshot else 0)
