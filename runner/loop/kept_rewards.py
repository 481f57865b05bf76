"""The reward snapshots that steered a run, kept in its folder."""

from __future__ import annotations

from pathlib import Path

from streams.files import write_atomically
from streams.messages.codec import encode
from streams.messages.contracts import RewardSnapshot, TraceEvent
from streams.messages.files import read_snapshot

_FOLDER = "rewards"


class KeptRewards:
    """``rewards/from_0003.json``: the snapshot in use from candidate 3 on. Call in the candidates' order."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / _FOLDER
        self.in_use: RewardSnapshot | None = None

    def at(self, recorded: TraceEvent) -> RewardSnapshot | None:
        """The snapshot in use when the step with this first candidate was made; null if there was none or
        the folder lacks it. Raises BadInput."""
        path = self._path(recorded.iter_idx)
        if recorded.meta.get("reward_version") is None:
            self.in_use = None
        elif path.is_file():
            self.in_use = read_snapshot(path)
        return self.in_use

    def use(self, newest: RewardSnapshot | None, idx: int) -> RewardSnapshot | None:
        """Keep the snapshot in use from candidate ``idx`` on; without a newer one, the last one stays."""
        path = self._path(idx)
        newest = newest or self.in_use  # a feed that has just started has none yet
        if newest is None or (self.in_use is not None and newest.checksum == self.in_use.checksum):
            path.unlink(missing_ok=True)  # left by a process that ended before recording the step
        else:
            write_atomically(path, encode(newest))
        self.in_use = newest
        return newest

    def _path(self, idx: int) -> Path:
        return self._folder / f"from_{idx:04d}.json"
