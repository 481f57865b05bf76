"""A work folder that is one process's."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import BadInput


@contextmanager
def alone(work: Path, command: str, option: str = "--work-dir") -> Iterator[None]:
    """Make the folder, and hold it within the block; the kernel gives it back however that ends.

    Raises BadInput where another process of ``command`` holds it; ``option`` is what names the folder.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("ab")
    except OSError as error:
        raise BadInput(f"{work}: cannot be written: {error.strerror}; choose another {option}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"{work}: another {command} is at work there; stop it or give another {option}"
            ) from None
        yield
