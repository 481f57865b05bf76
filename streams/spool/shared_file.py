"""Locks for a file that several processes have open: one of them leads, and the last one may remove it.

Both locks are ``flock`` on files beside it; the kernel releases them however a process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO


class SharedFile:
    """One use of ``path``, from the constructor to ``close``. Raises OSError if its folder has no room."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._leading: IO[bytes] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._using = self._begin_to_use()

    def may_lead(self) -> bool:
        """Whether this use leads, or now takes the lead. Raises OSError."""
        if self._leading is None:
            leading = self._beside(".sender").open("ab")
            try:
                fcntl.flock(leading, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                leading.close()
                return False
            self._leading = leading
        return True

    def close(self, leftover: Callable[[], Iterable[str]]) -> None:
        """End this use; the caller has closed the file.

        If no other use is left, the lock files are removed, and the files whose suffixes ``leftover``
        returns. It is called when no other process can start to use the file.
        """
        if self._leading is not None:
            self._leading.close()
        with self._using:
            try:
                # This may release the shared lock first, so another process may remove the file in between.
                fcntl.flock(self._using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._is_in_place(self._using):
                for suffix in (*leftover(), ".sender", ".users"):
                    self._beside(suffix).unlink(missing_ok=True)

    def _begin_to_use(self) -> IO[bytes]:
        while True:
            using = self._beside(".users").open("ab")
            fcntl.flock(using, fcntl.LOCK_SH)
            if self._is_in_place(using):
                return using
            using.close()

    def _is_in_place(self, using: IO[bytes]) -> bool:
        """Whether the locked file still exists, and was not removed before the lock was acquired."""
        try:
            return self._beside(".users").stat().st_ino == os.fstat(using.fileno()).st_ino
        except FileNotFoundError:
            return False

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)
