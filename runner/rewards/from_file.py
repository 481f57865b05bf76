"""A reward feed from a ``bt_reward.json``, for ``--reward``."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from streams.errors import BadInput
from streams.messages.contracts import RewardSnapshot
from streams.messages.files import reward_in
from streams.snapshots.serving import ServingSnapshot

_log = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


class FileRewardFeed:
    """The snapshot in a file, and newer ones as they are written there.

    ``critics`` are the names of the run's critics. Raises BadInput if the file cannot be used at the start.
    Later, a file that is missing, damaged, of another model, for other critics, or older than the snapshot in
    use is refused with one warning, and the snapshot in use stays. ``latest`` costs one ``stat``, plus one
    small read after a change.
    """

    def __init__(self, path: Path, *, critics: Collection[str] = ()) -> None:
        self.path = path
        self._seen = _stamp(path)  # before the read, so a file written meanwhile is read again
        self._serving = ServingSnapshot(RewardSnapshot, critics=critics, replaceable=True)
        self._snapshot = self._read()

    @property
    def refused(self) -> dict[str, int]:
        """Number of refusals of the file since the start, by reason."""
        return dict(self._serving.refused)

    def latest(self) -> RewardSnapshot:
        stamp = _stamp(self.path)
        if stamp is not None and stamp != self._seen:
            self._seen = stamp
            try:
                self._snapshot = self._read()
            except BadInput as error:
                _log.warning("%s; version %d stays in use", error, self._snapshot.version)
        return self._snapshot

    def _read(self) -> RewardSnapshot:
        with reward_in(self.path, "a bt_reward.json") as raw:
            return self._serving.offer(raw, str(self.path))


def _stamp(path: Path) -> _Stamp | None:
    """Changes whenever the file does; a file replaced by a rename has another inode."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
