"""A folder that is one process's."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import BadInput


@contextmanager
def exclusive_lock(folder: Path, option: str, taken: str, *, name: str = "lock") -> Iterator[None]:
    """Make the folder, and hold it within the block; the kernel gives it back however that ends.

    ``option`` names the folder on the command line. Raises BadInput where it cannot be written or locked, and
    where another process holds it: that is what ``taken`` says, with what to do. ``name`` is the lock's file.
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
