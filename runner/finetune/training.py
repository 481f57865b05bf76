"""The user's training as a process: one at a time, also where its caller was killed and starts again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner.worlds.process import Listener, ProcessGroups, interruptibly, log_tail, run_to_end
from streams.errors import BadInput

LOG = "training.log"
_LOCK = "training.lock"
_GONE_S = 10.0
_LOOK_AGAIN_S = 0.05


def run_training(
    arguments: Sequence[str], folder: Path, out: Path, *, timeout_s: float, listener: Listener | None
) -> None:
    """Run a training to its end, with what it prints in ``LOG`` of ``folder``; it has to fill ``out``.

    It and all that it started are killed on every way out; one that a killed caller left behind is ended
    first. Raises BadInput where it cannot be started, fails, runs out of time or leaves nothing.
    """
    groups = ProcessGroups()
    with _alone(folder) as lock:

        def run() -> str:
            return run_to_end(
                arguments,
                folder / LOG,
                timeout_s=timeout_s,
                groups=groups,
                listener=listener,
                inherited=(lock,),
                on_start=lambda group: _note(lock, group),
            )

        ending = interruptibly(groups, run)
    if not ending and not any(out.iterdir()):
        ending = "left nothing in {out}"
    if ending:
        raise BadInput(f"{folder / LOG}: the training {ending}; {log_tail(folder / LOG)}")


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """A lock that the training inherits: it is held as long as any of its processes lives."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _is_ours(lock):
            _end_the_other(folder, lock)
        yield lock
    finally:
        os.close(lock)


def _is_ours(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_the_other(folder: Path, lock: int) -> None:
    """The lock is held, so the group that is noted in it has living members, and its id is not another's."""
    noted = os.pread(lock, 32, 0).decode(errors="replace").strip()
    if noted.isdecimal():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(noted), signal.SIGKILL)
        deadline = time.monotonic() + _GONE_S
        while time.monotonic() < deadline:
            if _is_ours(lock):
                return
            time.sleep(_LOOK_AGAIN_S)
    raise BadInput(f"{folder / _LOCK}: a training that was started before is still at work; end it first")


def _note(lock: int, group: int) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(group).encode(), 0)
