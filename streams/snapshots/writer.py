"""Writers of a reward model's snapshots and checkpoints on the snapshots topic."""

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
    """The writer of a model's snapshots of one kind; each snapshot is also its learner's checkpoint."""

    def __init__(self, kind: type[Snapshot], settings: Settings, model: str) -> None:
        self._key = snapshot_key(model, kind.KIND)
        self._writer = FencedWriter(
            settings, model, {self._key: partial(decode_snapshot_of, kind)}, compression="gzip"
        )
        self.publish = self._writer.publish
        self.close = self._writer.close

    async def open(self) -> Snapshot | None:
        """The newest snapshot, or None. Raises as ``FencedWriter.open`` does."""
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
            compression=None,  # snapshots are small, and checkpoints are already compressed
        )
        self.publish = self._writer.publish
        self.close = self._writer.close

    async def open(self) -> Recovery:
        """The state from which the model continues. Raises as ``FencedWriter.open`` does."""
        newest = await self._writer.open()
        snapshot = newest.get(self._snapshots)
        return Recovery(newest.get(self._checkpoints), snapshot.version if snapshot else 0)
