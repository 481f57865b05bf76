"""The container that a health check runs in: how long it was not well, and how to end it.

Docker tells of a container that is not well, and starts again only one that has ended. Signals of the
container's own processes cannot end its first one (pid_namespaces(7)), so that has to be an init such as
Docker's, which ends with the program that it has started.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from streams.errors import BadInput

_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_NOTES = Path("/tmp/tribrain-health")
"""Gone with the container, so a new one begins anew."""
_FIRST = 1
_NEVER_WELL_TIMES = 10
"""A process that was never well may have much to read first: it gets so many times as long."""


def check_is_container() -> None:
    """Raises BadInput beyond a container, where ``end`` would end everything of this user."""
    if not any(mark.exists() for mark in _MARKS):
        raise BadInput("--end-after-s is for the health check of a container, and this is none; leave it out")


def first_process_stands_still() -> bool:
    """Whether something has stopped the container's first process (SIGSTOP)."""
    # Its name, in parentheses, may hold anything; the state comes behind it (proc_pid_stat(5)).
    return Path(f"/proc/{_FIRST}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def is_to_end(is_well: bool, after_s: float, now: float | None = None, notes: Path | None = None) -> bool:
    """Whether one check after the other has failed for so long, as the notes of earlier ones tell."""
    now = time.time() if now is None else now
    notes = notes or _NOTES
    was_well, since = notes / "was-well", notes / "not-well-since"
    notes.mkdir(exist_ok=True)
    if is_well:
        was_well.touch()
        since.unlink(missing_ok=True)
        return False
    try:
        silent_s = now - float(since.read_text())
    except (OSError, ValueError):
        since.write_text(f"{now:f}")
        return False
    return silent_s >= after_s * (1 if was_well.exists() else _NEVER_WELL_TIMES)


def end() -> None:
    """Kill every process but the first and this one, and wake the first to see the end of its program."""
    (_NOTES / "not-well-since").unlink(missing_ok=True)
    os.kill(-1, signal.SIGKILL)
    os.kill(_FIRST, signal.SIGCONT)
