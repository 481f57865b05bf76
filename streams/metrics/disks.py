"""How full a disk is, and when that needs attention."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

LEAST_FREE_SHARE, LEAST_FREE_BYTES = 0.1, 10 << 30
"""A disk with less than both is filling: a tenth of a large disk is room for months."""


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk, in bytes."""

    free: int
    size: int

    @classmethod
    def under(cls, folder: Path) -> Disk:
        """The disk that holds ``folder``. Raises OSError if it is missing."""
        usage = shutil.disk_usage(folder)
        return cls(usage.free, usage.total)

    @property
    def least_free(self) -> float:
        """The bytes that should be free; 0 for a file system that reports no size."""
        return min(LEAST_FREE_SHARE * self.size, LEAST_FREE_BYTES)

    @property
    def is_filling(self) -> bool:
        """Whether it needs attention."""
        return self.free < self.least_free
