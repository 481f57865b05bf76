"""The trainer as a child process: started, restarted when it dies, ended within seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from streams.settings import Settings

_GRACE_S = 2.0


class TrainerProcess:
    """``tribrain serve-trainer`` in a session of its own, its output in a log file.

    It keeps nothing on disk and goes on from Kafka, so starting it again is all the recovery there is.
    """

    def __init__(self, settings: Settings, log_path: Path) -> None:
        self._settings = settings
        self._log_path = log_path
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0

    @property
    def pid(self) -> int:
        """Process id of the trainer that runs now. Raises RuntimeError before the start."""
        if self._process is None:
            raise RuntimeError("the trainer was not started")
        return self._process.pid

    def __enter__(self) -> TrainerProcess:
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

    def keep_alive(self) -> bool:
        """Start it again where it has died; whether that was so."""
        if self._process is None or self._process.poll() is None:
            return False
        self.restarts += 1
        self._start()
        return True

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tribrain.cli", "--verbose", "serve-trainer"],
            env=os.environ
            | {
                "TRIBRAIN_BOOTSTRAP_SERVERS": self._settings.bootstrap_servers,
                "TRIBRAIN_TOPIC_PREFIX": self._settings.topic_prefix,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
