"""The container that a health check runs in: how long it was unhealthy, and how to end it.

Docker reports an unhealthy container, but restarts only one that has ended. Signals of the container's own
processes cannot end its first one (pid_namespaces(7)), so that has to be an init such as Docker's, which ends
with the program that it has started.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from streams.errors import BadInput

_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_NOTES = Path("/tmp/tribrain-health")
"""Notes of earlier checks; they go with the container, so a new one starts without any."""
_FIRST = 1
_NEVER_WELL_TIMES = 10
"""Factor on the time for a process that was never healthy, as it may have much to read first."""


def check_is_container() -> None:
    """Raises BadInput outside a container, where ``end`` would end all of this user's processes."""
    if not any(mark.exists() for mark in _MARKS):
        raise BadInput("--end-after-s is for the health check of a container, and this is none; leave it out")


def first_process_stands_still() -> bool:
    """Whether something has stopped the container's first process (SIGSTOP)."""
    # The name, in parentheses, may hold anything; the state follows it (proc_pid_stat(5)).
    return Path(f"/proc/{_FIRST}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def is_to_end(is_well: bool, after_s: float, now: float | None = None, notes: Path | None = None) -> bool:
    """Note this check's result; whether all checks have failed for ``after_s``, by the earlier notes."""
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
    """Kill all processes except the first and this one, and wake the first to see its program end."""
    (_NOTES / "not-well-since").unlink(missing_ok=True)
    os.kill(-1, signal.SIGKILL)
    os.kill(_FIRST, signal.SIGCONT)
