"""A lock that a process group holds as long as it lives, by which one that was left behind is ended.

A process in a group of its own outlives its caller when that is killed. The lock (``flock``) is inherited,
and the kernel frees it when the last process that has it is gone, however that ends; the file says which
group it is. A signal at the caller's death (Linux's ``PR_SET_PDEATHSIG``) would need no file, but it comes
when the thread ends that started the process, and does not reach what that process started.

The file is laid by who may want to go on later, and is of one group at a time. Lines in it::

    group 4711 on node-3
    status 0

The second one is there where the program was started through ``witnessed``, and has ended by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streams.errors import BadInput

_GONE_S = 10.0
_LOOK_AGAIN_S = 0.05
_GROUP = re.compile(r"^group (\d+) on (.*)$", re.MULTILINE)
_STATUS = re.compile(r"^status (\d+)$", re.MULTILINE)
# The status is written by who outlives the caller, too. ``"$0"`` is the lock.
_WITNESS = '"$@"; status=$?; echo "status $status" >>"$0"; exit "$status"'


def end_left_behind(lock: Path) -> None:
    """End the group that holds the lock, if one does, and wait until it is gone.

    A held lock's group has living members, so its id is not another's by now. Raises BadInput where it
    cannot be ended from here: it is on another machine, or does not go.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        if _take(descriptor):
            return
        noted = _GROUP.findall(_text(lock))
        whose = "what was started before"
        if noted:
            group, host = noted[-1]
            whose = f"process group {group} on {host}"
            if host != socket.gethostname():
                raise BadInput(f"{lock}: {whose} is still at work; end it there first")
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(group), signal.SIGKILL)
        if not _take_within(descriptor, _GONE_S):
            raise BadInput(f"{lock}: {whose} is still at work; end it first")
    finally:
        os.close(descriptor)


@contextmanager
def taken_for_a_group(locks: Sequence[Path]) -> Iterator[tuple[int, ...]]:
    """Descriptors for a process to inherit, of those locks that were laid; only that keeps them held.

    Where a group that was ended just now still holds one, it is waited for. Raises OSError where it stays so.
    """
    with ExitStack() as stack:
        descriptors = []
        for lock in locks:
            with contextlib.suppress(FileNotFoundError):
                descriptors.append(os.open(lock, os.O_RDWR))
                stack.callback(os.close, descriptors[-1])
        for descriptor in descriptors:
            if not _take_within(descriptor, _GONE_S):
                raise OSError("what was started before still holds its lock")
            os.ftruncate(descriptor, 0)
        yield tuple(descriptors)


def note_group(lock: Path, group: int) -> None:
    """Say in a lock that was laid which group works under it. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(lock, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, f"group {group} on {socket.gethostname()}\n".encode())
        finally:
            os.close(descriptor)


def witnessed(arguments: Sequence[str], lock: Path) -> list[str]:
    """The same program, whose exit status comes to stand in the lock, whatever becomes of the caller.

    One that a signal ended has 128 more than its number.
    """
    return ["/bin/sh", "-c", _WITNESS, str(lock), *arguments]


def has_ended_well(lock: Path) -> bool:
    """Whether the program of this lock was witnessed, and has ended by itself with status 0."""
    try:
        return _STATUS.findall(_text(lock)) == ["0"]
    except FileNotFoundError:
        return False


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_within(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _take(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


def _text(lock: Path) -> str:
    return lock.read_text(errors="replace")
