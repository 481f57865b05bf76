"""What the worker processes of one test run share: started by the first that needs it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def shared(folder: Path, start: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of what ``start`` starts, which is one for all processes that give the same ``folder``.

    Whoever has started it ends it, and waits with that until nobody uses it any more. Who comes later
    starts it anew.
    """
    address = folder / "address"
    with (folder / "starting").open("ab") as starting, (folder / "users").open("ab") as users:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)  # waits for one that is being ended
        if address.exists():
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield address.read_text()
            return
        with start() as started:
            address.write_text(started)
            fcntl.flock(starting, fcntl.LOCK_UN)
            try:
                yield started
            finally:
                fcntl.flock(users, fcntl.LOCK_EX)
                address.unlink()
