"""A generator's process: heard while it runs, in a group of its own, and never left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from runner.worlds.group_lock import note_group, taken_for_a_group
from streams.kafka.security_sources import without_secrets

LOG_NAME = "generator.log"
LOCK_NAME = "generator.lock"
"""Laid in a candidate's folder by who may go on later; held by the generator that is at work on it."""
_TAIL_BYTES = 2000
_TAIL_CHARACTERS = 400
_LOOK_AGAIN_S = 0.2
_LINE_CHARACTERS = 200
# Progress bars redraw their line: what counts as a line is what stands between two returns.
_LINE_END = re.compile(r"[\r\n]+")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f]")

Listener = Callable[[str], None]
"""Is given the newest line that a generator printed, without control characters."""


Result = TypeVar("Result")


class Stopped(Exception):
    """Everything was ended from outside; nothing more is started."""


class ProcessGroups:
    """Starts processes, each the leader of its own group, all of which can be ended from another thread."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def start(
        self,
        arguments: Sequence[str],
        *,
        locks: Sequence[Path] = (),
        pass_fds: Sequence[int] = (),
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """As ``Popen``, and the group holds those of ``locks`` that were laid (``group_lock``).

        Raises OSError and ValueError as that does, and Stopped after ``stop``.
        """
        # Whatever it logs of its environment, no secret is in it.
        options["env"] = without_secrets(options.get("env"))
        with taken_for_a_group(locks) as inherited, self._lock:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(
                arguments, start_new_session=True, pass_fds=(*pass_fds, *inherited), **options
            )
            self._running.add(process)
        try:
            for lock in locks:
                note_group(lock, process.pid)
        except BaseException:
            self.end(process)
            raise
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and all that it started, and wait for it."""
        with self._lock:
            _kill_group(process)
            self._running.discard(process)
        process.wait()

    def stop(self) -> None:
        """Kill all that runs, and let nothing start any more; who waits for a process sees it end."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
            for process in running:
                _kill_group(process)
        for process in running:
            process.wait()


def run_to_end(
    arguments: Sequence[str],
    log: Path,
    *,
    timeout_s: float,
    groups: ProcessGroups | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    listener: Listener | None = None,
    achieved: Callable[[], int] = lambda: 0,
    locks: Sequence[Path] = (),
) -> str:
    """Run a program, with what it prints in ``log``; says how it ended where that was badly, else nothing.

    It has ``timeout_s`` seconds, and as many again whenever ``achieved`` gives another number. It and all it
    started are killed on every way out, and hold those of ``locks`` that were laid, by which they are found
    where even that could not be done. Raises Stopped where ``groups`` was stopped before.
    """
    groups = groups or ProcessGroups()
    heard = _Heard(log, listener)
    with log.open("wb") as output:
        try:
            process = groups.start(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
                locks=locks,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in the prompt
            return f"could not be started: {error}"
        try:
            so_far, since = achieved(), time.monotonic()
            while True:
                left = since + timeout_s - time.monotonic()
                try:
                    status = process.wait(max(0.0, min(left, _LOOK_AGAIN_S)))
                    break
                except subprocess.TimeoutExpired:
                    heard.pass_on()
                if (now := achieved()) != so_far:
                    so_far, since = now, time.monotonic()
                elif left <= 0:
                    return f"was stopped after {timeout_s:g} s"
        finally:
            # On every way out, Ctrl-C included: a worker left behind would keep its GPU memory.
            groups.end(process)
            heard.pass_on()
    return f"ended with status {status}" if status else ""


def interruptibly(groups: ProcessGroups, work: Callable[[], Result]) -> Result:
    """Do ``work``, which starts processes of ``groups``, in a thread; Ctrl-C ends them and is raised.

    A signal reaches the main thread alone. There it could come after a process was started and before anyone
    knows of it, who would end it.
    """
    with ThreadPoolExecutor(1) as pool:
        try:
            return awaited(pool.submit(work))
        except BaseException:
            groups.stop()
            raise


def awaited(future: Future[Result]) -> Result:
    """Its result, as ``future.result()``, but Ctrl-C is always heard.

    Python handles a signal between two steps of the main thread. One that comes when that is just about to
    wait without an end, or to a thread beside it, would be handled when the wait is over.
    """
    while not wait([future], _LOOK_AGAIN_S).done:
        pass
    return future.result()


def log_tail(log: Path) -> str:
    """The end of what was printed, in one line."""
    text = " ".join(_end_of(log, _TAIL_BYTES).split())
    if not text:
        return "it printed nothing"
    cut = "…" if len(text) > _TAIL_CHARACTERS else ""
    return f"its last words ({log.name}): {cut}{text[-_TAIL_CHARACTERS:]}"


def last_line(text: str) -> str:
    """The last line in which anything stands, as a person would see it; empty where there is none."""
    lines = (_CONTROL.sub("", line).strip() for line in reversed(_LINE_END.split(text)))
    return next(filter(None, lines), "")[:_LINE_CHARACTERS]


class _Heard:
    """What is new in a log, for a listener."""

    def __init__(self, log: Path, listener: Listener | None) -> None:
        self._log = log
        self._listener = listener
        self._size = 0
        self._last = ""

    def pass_on(self) -> None:
        if self._listener is None or (size := self._log.stat().st_size) == self._size:
            return
        self._size = size
        line = last_line(_end_of(self._log, _TAIL_BYTES))
        if line and line != self._last:
            self._last = line
            self._listener(line)


def _end_of(log: Path, n_bytes: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - n_bytes))
        return file.read().decode(errors="replace")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The leader's id is its group's. A group without living members is no error.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
