"""A generator's process: it reports while it runs, has its own process group, and is never left behind."""

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
from streams.files import disk_is_full
from streams.kafka.security_sources import without_secrets

LOG_NAME = "generator.log"
LOCK_NAME = "generator.lock"
"""File in a candidate's folder, created by whoever may resume; the generator holds it while working there."""
CRITIC_LOCKS = "critic-*.lock"
"""Files there, each held by the program of one critic while it judges the video."""
_TAIL_BYTES = 2000
_TAIL_CHARACTERS = 400
_LOOK_AGAIN_S = 0.2
_LINE_CHARACTERS = 200
# Progress bars redraw their line, so a line is the text between two carriage returns.
_LINE_END = re.compile(r"[\r\n]+")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f]")

Listener = Callable[[str], None]
"""Called with the newest line that a generator printed, without control characters."""


Result = TypeVar("Result")


class Stopped(Exception):
    """Everything was ended from outside, and nothing may be started."""


class ProcessGroups:
    """Starts processes, each leading its own group, and can end all of them from another thread."""

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
        """Like ``Popen``; the group holds those of ``locks`` that exist (``group_lock``).

        Raises OSError and ValueError like ``Popen``, and Stopped after ``stop``.
        """
        # The process may log its environment, so secrets are left out.
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
        """Kill a process and its children, and wait for it."""
        with self._lock:
            _kill_group(process)
            self._running.discard(process)
        process.wait()

    def stop(self) -> None:
        """Kill all running processes and prevent new ones. Callers waiting for a process see it end."""
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
    """Run a program with its output in ``log``. Returns how it failed, or an empty string.

    It has ``timeout_s`` seconds, and as many again whenever ``achieved`` returns a new number. The program
    and its children are killed on every way out. They hold those of ``locks`` that exist, so they can be
    found if even that was not possible. Raises Stopped if ``groups`` was stopped before.
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
            if disk_is_full(error):
                raise
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

    Signals reach only the main thread. If the work ran there, a signal could come after a process has started
    and before anything that could end it knows of it.
    """
    with ThreadPoolExecutor(1) as pool:
        try:
            return awaited(pool.submit(work))
        except BaseException:
            groups.stop()
            raise


def awaited(future: Future[Result]) -> Result:
    """Its result, like ``future.result()``, but Ctrl-C always gets through.

    Python handles a signal between two steps of the main thread. A signal that arrives just before that
    thread waits without a limit, or arrives in another thread, would be handled only after the wait.
    """
    while not wait([future], _LOOK_AGAIN_S).done:
        pass
    return future.result()


def log_tail(log: Path) -> str:
    """The end of the output, on one line."""
    text = " ".join(_end_of(log, _TAIL_BYTES).split())
    if not text:
        return "it printed nothing"
    cut = "…" if len(text) > _TAIL_CHARACTERS else ""
    return f"its last words ({log.name}): {cut}{text[-_TAIL_CHARACTERS:]}"


def last_line(text: str) -> str:
    """The last line with visible text, as a person would see it; empty if there is none."""
    lines = (_CONTROL.sub("", line).strip() for line in reversed(_LINE_END.split(text)))
    return next(filter(None, lines), "")[:_LINE_CHARACTERS]


class _Heard:
    """Reports new text in a log to a listener."""

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
    # A group has its leader's id. A group without living members is not an error.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
