"""A folder that one process has to itself."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import BadInput


@contextmanager
def exclusive_lock(folder: Path, option: str, taken: str, *, name: str = "lock") -> Iterator[None]:
    """Make the folder and lock it within the block; the kernel releases the lock however the block ends.

    ``option`` names the folder on the command line; ``name`` is the lock's file. Raises BadInput where the
    folder cannot be written or locked, and where another process holds it: ``taken`` says so, and what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / name).open("ab")
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written: {error.strerror}; choose another {option}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{folder}: {taken}") from None
        except OSError as error:
            raise BadInput(
                f"{folder}: its file system has no locks ({error.strerror}); choose another {option}"
            ) from None
        yield
