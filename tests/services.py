"""``tribrain serve-…`` as processes of their own, forked from one that has imported what they need.

An import takes longer than most of what a test then does with the service.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from pathlib import Path

from streams.fail_points import VARIABLE, arm
from streams.kafka.security import NAMES, NOT_SECURED
from streams.kafka.security_sources import variable_of
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from tribrain.cli import main

_END_S = 60.0
_SHORT_SESSION_S = 2.0
_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__, "tests.service_imports"])


class Service:
    """A running service, by the methods of ``subprocess.Popen``.

    ``said`` is what came on stderr, and ``printed`` what came on stdout.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        change: Callable[[], None] | None,
    ) -> None:
        self._arguments = arguments
        self._said = tempfile.NamedTemporaryFile()  # noqa: SIM115 (there as long as this object)
        self._printed = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self._process = _PROCESSES.Process(
            target=_run, args=(arguments, environment, self._said.name, self._printed.name, change)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def said(self) -> str:
        return Path(self._said.name).read_text()

    @property
    def printed(self) -> str:
        return Path(self._printed.name).read_text()

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code; negative for a signal. Raises TimeoutExpired."""
        self._process.join(timeout_s)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout_s or 0.0)
        return code


def security_variables(settings: Settings) -> dict[str, str]:
    """The environment that says how this broker is talked to; nothing for one that asks nothing."""
    given = {variable_of(name): str(getattr(settings.security, field)) for field, name in NAMES.items()}
    return {name: value for name, value in given.items() if value and settings.security != NOT_SECURED}


@contextmanager
def service(
    settings: Settings,
    command: str,
    *options: str,
    environment: Mapping[str, str] | None = None,
    change: Callable[[], None] | None = None,
) -> Iterator[Service]:
    """``tribrain COMMAND …`` until the block is left; ``change`` is called in its process before."""
    arguments = (command, "--bootstrap-servers", settings.bootstrap_servers, *options)
    own = {TOPIC_PREFIX_VARIABLE: settings.topic_prefix, "PATH": "", **security_variables(settings)}
    process = Service(arguments, own | dict(environment or {}), change)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_END_S)


def trainer(settings: Settings, *options: str, **environment: str) -> AbstractContextManager[Service]:
    return service(settings, "serve-trainer", *options, environment=environment)


def trainer_to_kill(settings: Settings, *options: str, **environment: str) -> AbstractContextManager[Service]:
    """A trainer whose partitions its successor gets soon after it was killed."""
    return service(settings, "serve-trainer", *options, environment=environment, change=_missed_soon)


def _missed_soon() -> None:
    from streams.worker import app

    app.SESSION_S = _SHORT_SESSION_S


def serve_text(settings: Settings, *options: str, **environment: str) -> AbstractContextManager[Service]:
    return service(settings, "serve-text", *options, environment=environment)


def _run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    said: str,
    printed: str,
    change: Callable[[], None] | None,
) -> None:
    os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), 2)
    os.dup2(os.open(printed, os.O_WRONLY | os.O_APPEND), 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    arm(environment.get(VARIABLE, ""))
    if change is not None:
        change()
    main(list(arguments))
