"""Commands as real processes, and whatever they started, found by a mark in the environment (Linux)."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interrupts import interrupts_heard
from tests.waiting import wait_until

_MARK = "TRIBRAIN_TEST_MARK"
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")


class Command:
    """A running ``tribrain …``; its output goes to a file."""

    def __init__(self, arguments: Sequence[str], output: Path, environment: Mapping[str, str]) -> None:
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        self._output = output
        with output.open("wb") as file, interrupts_heard():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tribrain.cli", *arguments],
                env=clean_environment() | dict(environment) | {_MARK: self._mark.partition("=")[2]},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def started(self, what: str) -> list[int]:
        """Processes that it started, directly or not, and that have ``what`` in their command line."""
        return [pid for pid, command in self._alive() if what in command and pid != self.process.pid]

    def children(self) -> list[int]:
        return self.started("")

    def wait(self, timeout_s: float) -> int:
        """The exit code."""
        return self.process.wait(timeout_s)

    def kill_everything(self) -> None:
        for pid, _ in self._alive():
            os.kill(pid, 9)
        self.process.wait()

    def _alive(self) -> Iterator[tuple[int, str]]:
        """Zombies have no environment any more."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # not ours, or just gone


@contextmanager
def command(arguments: Sequence[str], output: Path, **environment: str) -> Iterator[Command]:
    """Run until the block is left; nothing that it started outlives the block."""
    running = Command(arguments, output, environment)
    try:
        yield running
    finally:
        running.kill_everything()
        wait_until(lambda: not running.children())


def clean_environment() -> dict[str, str]:
    """This process's, without what names a broker of the user's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIBRAIN_")}
