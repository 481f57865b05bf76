"""A reader who types what a page says, block after block, in a folder of his own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path

from tests.docs.pages import ROOT, Block
from tests.docs.plan import ELSEWHERE
from tests.waiting import wait_until

_BIN = Path(sys.executable).parent
LASTING = ("tribrain serve ", "tribrain ui")
"""Beginnings of commands that last until Ctrl-C."""
_ACTIVATE = ". .venv/bin/activate"
_READY_S = 60.0
_END_S = 60.0
_VARIABLES = ".variables"


class Reader:
    """Runs the blocks of one page; what lasts until Ctrl-C goes on until ``stop``."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        stand_ins: Mapping[str, str],
        *,
        has_docker: bool = False,
    ) -> None:
        """``stand_ins``: what is taken in place of addresses and names that are a reader's own.

        Commands of Docker are run in the repository, and left out without ``has_docker``.
        """
        self._folder = folder
        self._stand_ins = stand_ins
        self._has_docker = has_docker
        self._environment = os.environ | {
            "PYTHONUNBUFFERED": "1",
            "XDG_STATE_HOME": str(folder / "state"),
            **environment,
            "PATH": f"{_BIN}:{os.environ['PATH']}",
        }
        self._background = ExitStack()

    def stop(self) -> None:
        self._background.close()

    def read(self, block: Block) -> str:
        """What the block's commands printed. Raises AssertionError where one fails."""
        if block.title is not None:
            (self._folder / block.title).write_text(block.code)
            return ""
        if block.language == "python":
            return self._run([sys.executable, "-"], block, block.code)
        said = []
        for kind, lines in groupby(block.code.splitlines(), kind_of):
            if kind == "lasting":
                for line in lines:
                    self._background.enter_context(self._in_background(self._as_typed(line)))
            elif kind == "make":
                # A reader's call would run these tests.
                script = "\n".join(f"{line} --dry-run -C {shlex.quote(str(ROOT))}" for line in lines)
                said.append(self._run(["bash", "-e"], block, script))
            elif kind == "docker" and self._has_docker:
                said.append(self._run(["bash", "-e"], block, "\n".join(lines), ROOT))
            elif kind == "here":
                said.append(self._run_script("\n".join(lines), block))
        return "".join(said)

    def _run_script(self, script: str, block: Block) -> str:
        """What it exports is there for the blocks that follow."""
        script = f"set -eu\n{self._as_typed(script)}\nenv -0 > {_VARIABLES}\n"
        said = self._run(["bash"], block, script)
        exported = (self._folder / _VARIABLES).read_text().split("\0")
        self._environment = dict(each.split("=", 1) for each in exported if each)
        return said

    def _as_typed(self, text: str) -> str:
        for given, own in self._stand_ins.items():
            text = text.replace(given, own)
        return re.sub(r"^tribrain (ui|serve page)\b", r"tribrain \1 --port 0", text, flags=re.MULTILINE)

    def _run(self, command: list[str], block: Block, given: str, folder: Path | None = None) -> str:
        done = subprocess.run(
            command,
            cwd=folder or self._folder,
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block.place}\n{given}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def _in_background(self, command: str) -> Iterator[None]:
        """Goes on once the command has said that it is ready."""
        log = self._folder / f"{re.sub('[^a-z0-9]+', '-', command)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                shlex.split(command), cwd=self._folder, env=self._environment, stdout=out, stderr=out
            )
        try:
            wait_until(lambda: log.read_text().strip() or process.poll() is not None, _READY_S)
            assert process.poll() is None, f"{command}\n{log.read_text()}"
            yield
        finally:
            process.terminate()
            process.wait(_END_S)


def kind_of(line: str) -> str:
    """How a line is run: here, in the background, by ``make --dry-run``, by Docker, or by another test."""
    if line.startswith(tuple(ELSEWHERE)) or line == _ACTIVATE:
        return "elsewhere"
    for program in ("make", "docker"):
        if line.startswith(f"{program} "):
            return program
    return "lasting" if line.startswith(LASTING) else "here"


def lines_of(blocks: Iterable[Block], wanted: Callable[[str], bool]) -> list[str]:
    """The lines of shell that are wanted, in their order."""
    return [
        line for block in blocks if block.language == "sh" for line in block.code.splitlines() if wanted(line)
    ]
