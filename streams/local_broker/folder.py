"""A broker's data folder: one broker at a time locks it, and its log shows why a broker has ended."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from streams.errors import BadInput

_LINES = 3
_LINE_CHARACTERS = 300


def hold(folder: Path) -> IO[bytes]:
    """Create the folder and lock it until the file is closed, here and in each process that inherited it.

    The kernel releases the lock however a process ends. Raises BadInput if the folder is locked or cannot be
    written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("ab")
    except OSError as error:
        raise BadInput(f"{folder}: cannot be a data directory: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if isinstance(error, BlockingIOError):
            raise BadInput(
                f"{folder}: this folder is in use by another broker; stop that one or give another folder"
            ) from None
        raise BadInput(f"{folder}: cannot be a data directory: {error.strerror}") from None
    return lock


def end_of_log(log: Path, start: int) -> str:
    """The last meaningful lines of a log after the byte ``start``; empty if there are none."""
    try:
        with log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = [line.strip() for line in lines if line.strip() and not line.startswith("\tat ")]
    return "; ".join(_cut(line) for line in told[-_LINES:])


def _cut(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS else f"{line[: _LINE_CHARACTERS - 2]} …"
