"""A reward feed from a ``bt_reward.json``: what ``--preference-rm`` gives."""

from __future__ import annotations

import logging
from pathlib import Path

from streams.contracts import RewardSnapshot
from streams.errors import BadInput
from streams.files import read_snapshot

_log = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


class FileRewardFeed:
    """The snapshot in a file, and its successors as they are written there.

    Raises BadInput where the file cannot be used at the start. Later a file that is gone, damaged, of
    another model or older than the one in use is refused with one warning, and the one in use stays.
    ``latest`` costs one ``stat``, and one small read after a change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = _stamp(path)  # before the read: a file written in between is then read again
        self._snapshot = _usable(path)

    def latest(self) -> RewardSnapshot:
        stamp = _stamp(self.path)
        if stamp is not None and stamp != self._seen:
            self._seen = stamp
            try:
                self._snapshot = _successor(self._snapshot, _usable(self.path), self.path)
            except BadInput as error:
                _log.warning("%s; version %d stays in use", error, self._snapshot.version)
        return self._snapshot


def _usable(path: Path) -> RewardSnapshot:
    """Beyond the contract: every weight has a scale to be divided by. Raises BadInput."""
    snapshot = read_snapshot(path)
    for name in snapshot.weights:
        if not snapshot.scales.get(name, 0.0) > 0.0:
            raise BadInput(
                f"{path}: scales.{name}: found {snapshot.scales.get(name)}; expected a number above 0 for "
                "every weight: make the snapshot again"
            )
    return snapshot


def _successor(current: RewardSnapshot, new: RewardSnapshot, path: Path) -> RewardSnapshot:
    if new.model != current.model:
        raise BadInput(f"{path}: now holds the model {new.model!r}; this run uses {current.model!r}")
    if new.version < current.version:
        raise BadInput(f"{path}: now holds the older version {new.version}")
    return new


def _stamp(path: Path) -> _Stamp | None:
    """Changes whenever the file does; a file replaced by a rename has another inode."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
