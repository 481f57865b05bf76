"""A critic that is a program: it gets a video and prints its scores."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from runner.command_template import CommandTemplate
from runner.critics.opinion import Unusable, last_opinion, missing
from runner.interfaces import Judgement
from runner.worlds.group_lock import end_left_behind
from runner.worlds.process import CRITIC_LOCKS, ProcessGroups
from streams.errors import BadInput
from streams.messages.contracts import CriticResult

_PLACES = ("video", "prompt", "goal")
_SIMPLE = re.compile(r"[a-z0-9_-]{1,64}")
_READ_BYTES = 1 << 22
"""Bytes that are read from the end of a critic's output."""


class CommandCritic:
    """Runs ``command`` for each video and takes the last JSON object that it prints on standard output.

    ``command`` is a template such as ``python my_critic.py {video} {prompt}``, see ``CommandTemplate``;
    ``{goal}`` is the prompt before any rewriting. Each number in the object is a score, see
    ``runner.critics.opinion``. After ``timeout_s`` seconds the program and its children are killed. If it
    fails or prints nothing usable, its result has no score and states the failure. The program itself
    reports when it does not apply (``no_score``). Raises BadInput for an invalid template or a time-out that
    is not positive.
    """

    def __init__(self, name: str, command: str, timeout_s: float) -> None:
        if not timeout_s > 0:
            raise BadInput(f"the critics' time-out is {timeout_s} s; it must be above 0")
        self.name = name
        self._template = CommandTemplate(
            command, whose=f"the critic {name}", places=_PLACES, required=("video",)
        )
        self._timeout_s = timeout_s

    def begin(self, video: Path, *, prompt: str, goal: str) -> Judgement:
        """Start the program. First end one that a killed process left running on this video.

        Raises BadInput if that cannot be done from here.
        """
        values = {"video": str(video.resolve()), "prompt": prompt, "goal": goal}
        lock = video.parent / CRITIC_LOCKS.replace("*", _for_a_file(self.name))
        end_left_behind(lock)
        return _Run(self.name, self._template.filled(values), self._timeout_s, lock)


def _for_a_file(name: str) -> str:
    """The name, or a hash of one that not every file system takes."""
    if _SIMPLE.fullmatch(name):
        return name
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


class _Run:
    """The program at work on one video. Its output goes to files, so it never blocks on a full pipe."""

    def __init__(self, name: str, arguments: list[str], timeout_s: float, lock: Path) -> None:
        self._name = name
        self._lock = lock
        self._timeout_s = timeout_s
        self._groups = ProcessGroups()
        self._files = ExitStack()
        self._output = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._log = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None
        self._problem = ""
        self._give_up = time.monotonic() + timeout_s
        try:
            lock.touch()
            self._process = self._groups.start(
                arguments, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._log, locks=[lock]
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in the prompt
            self._problem = f"could not be started: {error}"

    def result(self) -> CriticResult:
        """Wait for the scores."""
        if problem := self._problem or self._ending():
            return missing(self._name, f"the critic {problem}", self._tail())
        try:
            is_cut = self._output.seek(0, 2) > _READ_BYTES
            return last_opinion(_end_of(self._output), is_cut=is_cut).result(self._name, self._tail())
        except Unusable as error:
            return missing(self._name, str(error), self._tail())

    def stop(self) -> None:
        """Kill what is still running."""
        if self._process is not None:
            self._groups.end(self._process)
        self._lock.unlink(missing_ok=True)
        self._files.close()

    def _ending(self) -> str:
        """How the program failed; empty if it succeeded."""
        assert self._process is not None
        try:
            status = self._process.wait(max(0.0, self._give_up - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._groups.end(self._process)
            return f"was stopped after {self._timeout_s:g} s"
        return f"ended with status {status}" if status else ""

    def _tail(self) -> str:
        return _end_of(self._log) or _end_of(self._output)


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, 2)
    file.seek(max(0, size - _READ_BYTES))
    return file.read().decode(errors="replace")
