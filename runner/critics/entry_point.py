"""A critic that is a Python function of an installed package, in a process of its own.

A package offers one as an entry point of the group ``tribrain.critics``. The entry point names a callable (a
class, or a function that loads a model), which is called once without arguments and returns the judge:

    judge(video: pathlib.Path, *, prompt: str, goal: str) -> Mapping[str, float | None]

``runner.critics.opinion`` describes how the scores are read; ``no_score`` beside them explains a null. The
process starts with the first video and is kept, so a model is loaded once. A judge that is slow, crashes or
hangs costs only that candidate's scores.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from runner.critics.opinion import Unusable, missing, opinion
from runner.interfaces import Judgement
from runner.worlds.process import ProcessGroups
from streams.errors import BadInput
from streams.messages.contracts import CriticResult

GROUP = "tribrain.critics"
_MODULE = "runner.critics.serve_entry_point"
_READ_BYTES = 1 << 14


class EntryPointCritic:
    """The critic that an installed package offers as ``name``.

    It has ``timeout_s`` seconds per video, including loading its model before the first one. Then its process
    is killed, and restarted for the next video. Raises BadInput if no package offers it, or for a time-out
    that is not positive.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        if not timeout_s > 0:
            raise BadInput(f"the critics' time-out is {timeout_s} s; it must be above 0")
        offered = sorted(entry_points(group=GROUP).names)
        if name not in offered:
            raise BadInput(
                f"no installed package offers the critic {name!r} (entry points of {GROUP}: "
                f"{', '.join(offered) or 'none'}); install it, or give a command: "
                "NAME='python my_critic.py {video}'"
            )
        self.name = name
        self.timeout_s = timeout_s
        self._worker: _Worker | None = None

    def begin(self, video: Path, *, prompt: str, goal: str) -> Judgement:
        """Send the video to the process; start one if none is running."""
        if self._worker is None:
            self._worker = _Worker(self.name)
        self._worker.ask({"video": str(video.resolve()), "prompt": prompt, "goal": goal})
        return _Asked(self, self._worker)

    def close(self) -> None:
        """End the process. May be called at any time, more than once."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _Worker:
    """The process: requests go through a socket, its output to a file. Raises OSError if it cannot start."""

    def __init__(self, name: str) -> None:
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._groups = ProcessGroups()
        with theirs:
            self._process = self._groups.start(
                [sys.executable, "-m", _MODULE, name, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(),),
            )
        self._line = Connection(ours.detach())
        self._asked_at = 0

    def ask(self, request: Mapping[str, str]) -> None:
        self._asked_at = self._log.seek(0, 2)
        with suppress(OSError):  # a dead process shows when its answer is awaited
            self._line.send_bytes(json.dumps(request).encode())

    def answer(self, timeout_s: float) -> dict[str, Any] | None:
        """The answer; None if none came in time. Raises EOFError if the process ended."""
        try:
            if not self._line.poll(timeout_s):
                return None
            said: dict[str, Any] = json.loads(self._line.recv_bytes())
        except OSError:
            raise EOFError from None
        return said

    def printed(self) -> str:
        """Output since the last request."""
        self._log.seek(max(self._asked_at, self._log.seek(0, 2) - _READ_BYTES))
        return self._log.read().decode(errors="replace")

    def end(self) -> int:
        """Kill what is running. Returns the exit status if the process had ended before, else a signal's."""
        self._groups.end(self._process)
        self._line.close()
        self._log.close()
        return self._process.returncode


class _Asked:
    """A video that the process is judging."""

    def __init__(self, critic: EntryPointCritic, worker: _Worker) -> None:
        self._critic = critic
        self._worker = worker
        self._give_up = time.monotonic() + critic.timeout_s
        self._answered = False

    def result(self) -> CriticResult:
        name = self._critic.name
        try:
            said = self._worker.answer(max(0.0, self._give_up - time.monotonic()))
        except EOFError:
            return missing(name, "the critic's process ended before it answered", self._worker.printed())
        if said is None:
            why = f"the critic was stopped after {self._critic.timeout_s:g} s"
            return missing(name, why, self._worker.printed())
        self._answered = True
        if "error" in said:
            return missing(name, f"the critic failed: {said['error']}", self._worker.printed())
        try:
            return opinion(said["said"]).result(name, self._worker.printed())
        except Unusable as error:
            return missing(name, str(error), self._worker.printed())

    def stop(self) -> None:
        """Kill a process that has not answered, as it is of no more use."""
        if not self._answered:
            self._critic.close()
