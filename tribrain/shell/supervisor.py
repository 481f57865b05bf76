"""A service of this program as a child process: started, restarted when it dies, ended within seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from streams.errors import BadInput
from streams.kafka.security import NOT_SECURED
from streams.kafka.security_sources import PREFIX
from streams.kafka.settings import Settings, no_broker_answers
from tribrain.shell.exit_codes import BAD_INPUT
from tribrain.shell.measuring import VARIABLES

_GRACE_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
"""Seconds from the start of a service that died to the next start; each death in a row doubles them."""


class ServiceProcess:
    """``tribrain serve-…`` in a session of its own, its output in a log file.

    A service continues from what is on Kafka, so restarting it is all the recovery it needs.
    """

    def __init__(self, settings: Settings, arguments: Sequence[str], log_path: Path) -> None:
        """``arguments``: the command and its options, without broker and topics."""
        self._settings = settings
        self._no_broker = str(no_broker_answers(settings))
        self._arguments = tuple(arguments)
        self._log_path = log_path
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._pause_s = _FIRST_PAUSE_S
        self._started = 0.0

    @property
    def pid(self) -> int:
        """Id of the current process. Raises RuntimeError before the start."""
        if self._process is None:
            raise RuntimeError(f"{self._arguments[0]} was not started")
        return self._process.pid

    def __enter__(self) -> ServiceProcess:
        self._log = self._log_path.open("ab")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._log is not None:
            self._log.close()

    def terminate(self) -> None:
        """Ask the process to end, without waiting."""
        if self._process is not None:
            self._process.terminate()

    def keep_alive(self) -> bool:
        """Restart the process if it has died, after a pause if it dies repeatedly; whether it was restarted.

        Raises BadInput with its last line where it ended with the exit code for bad input, except where no
        broker answered: brokers come back.
        """
        if self._process is None or self._process.poll() is None:
            return False
        if self._process.returncode == BAD_INPUT and (said := self._last_line()) != self._no_broker:
            raise BadInput(f"{self._arguments[0]}: {said}")
        ran_s = time.monotonic() - self._started
        if ran_s < self._pause_s:
            return False
        self._pause_s = (
            min(2 * self._pause_s, _LONGEST_PAUSE_S) if ran_s < _LONGEST_PAUSE_S else _FIRST_PAUSE_S
        )
        self.restarts += 1
        self._start()
        return True

    def _last_line(self) -> str:
        lines = self._log_path.read_text(errors="replace").splitlines() or ["it said nothing"]
        return lines[-1].removeprefix("tribrain: ")

    def _environment(self) -> dict[str, str]:
        """This process's environment, with this broker; settings of a secured one are already in it."""
        own = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        if self._settings.security == NOT_SECURED:
            own = {name: value for name, value in own.items() if not name.startswith(PREFIX)}
        return own | {
            "TRIBRAIN_BOOTSTRAP_SERVERS": self._settings.bootstrap_servers,
            "TRIBRAIN_TOPIC_PREFIX": self._settings.topic_prefix,
        }

    def _start(self) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tribrain.cli", "--verbose", *self._arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
