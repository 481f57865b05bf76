"""A lock that a process group holds while it lives, used to end a group that was left behind.

A process in its own group outlives a caller that is killed. The processes inherit the lock (``flock``), and
the kernel frees it when the last process holding it is gone, however it ends. The file names the group. A
signal at the caller's death (Linux's ``PR_SET_PDEATHSIG``) would need no file, but it is sent when the thread
that started the process ends, and does not reach the process's children.

Whoever may want to resume later creates the file. It belongs to one group at a time. Its lines::

    group 4711 on node-3
    status 0

The caller writes the first line, and so does a program that was started through ``witnessed``, in case the
caller is killed before. The second line exists if such a program has exited.
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
# The shell outlives the caller and is the group's first process. ``"$0"`` is the lock, ``"$1"`` the host.
_WITNESS = (
    'echo "group $$ on $1" >>"$0"; shift; "$@"; status=$?; echo "status $status" >>"$0"; exit "$status"'
)


def end_left_behind(lock: Path) -> None:
    """End the group that holds the lock, if there is one, and wait until it is gone.

    While the lock is held, its group has living members, so the id cannot belong to another group. Raises
    BadInput if the group cannot be ended from here: it is on another machine, or does not end.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        deadline = time.monotonic() + _GONE_S
        while not _take(descriptor):
            whose = _kill_noted(lock)
            if time.monotonic() > deadline:
                raise BadInput(f"{lock}: {whose} is still running; end it first")
            time.sleep(_LOOK_AGAIN_S)
    finally:
        os.close(descriptor)


def _kill_noted(lock: Path) -> str:
    """Kill the group that a held lock names, and return how to call it.

    A group that was started a moment ago may not be named yet. Raises BadInput if it is on another machine.
    """
    noted = _GROUP.findall(_text(lock))
    if not noted:
        return "an earlier process group"
    group, host = noted[-1]
    whose = f"process group {group} on {host}"
    if host != socket.gethostname():
        raise BadInput(f"{lock}: {whose} is still running; end it there first")
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(int(group), signal.SIGKILL)
    return whose


@contextmanager
def taken_for_a_group(locks: Sequence[Path]) -> Iterator[tuple[int, ...]]:
    """Descriptors of the existing locks for a process to inherit, which alone keeps them held.

    Waits for a group that was just ended to release its lock. Raises OSError if it does not.
    """
    with ExitStack() as stack:
        descriptors = []
        for lock in locks:
            with contextlib.suppress(FileNotFoundError):
                descriptors.append(os.open(lock, os.O_RDWR))
                stack.callback(os.close, descriptors[-1])
        for descriptor in descriptors:
            if not _take_within(descriptor, _GONE_S):
                raise OSError("an earlier process group still holds its lock")
            os.ftruncate(descriptor, 0)
        yield tuple(descriptors)


def note_group(lock: Path, group: int) -> None:
    """Write into an existing lock which group holds it. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(lock, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, f"group {group} on {socket.gethostname()}\n".encode())
        finally:
            os.close(descriptor)


def witnessed(arguments: Sequence[str], lock: Path) -> list[str]:
    """The command that runs the same program and then writes its exit status into the lock.

    The status is written even if the caller is gone. After a signal it is 128 plus the signal's number.
    """
    return ["/bin/sh", "-c", _WITNESS, str(lock), socket.gethostname(), *arguments]


def has_ended_well(lock: Path) -> bool:
    """Whether the program of this lock was started through ``witnessed`` and exited with status 0."""
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
