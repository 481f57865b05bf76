"""The page beside a demo: a service while it runs, and the command that opens its folder afterwards."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import time
import webbrowser
from pathlib import Path

from streams.errors import BadInput
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE, TOPIC_PREFIX_VARIABLE, Settings
from tribrain.shell.supervisor import ServiceProcess

_HOST = "127.0.0.1"
_START_S = 60.0
_POLL_S = 0.05
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


class PageService:
    """``tribrain ui`` over the demo's runs, on this computer alone."""

    def __init__(self, settings: Settings, out: Path, port: int) -> None:
        """``port`` is a free port."""
        self.url = f"http://{_HOST}:{port}/"
        self._port = port
        self._log = out / "page.log"
        runs = out / "runs"
        runs.mkdir(exist_ok=True)
        arguments = ["ui", "--runs", str(runs), "--port", str(port), "--state-dir", str(out / "page")]
        self.process = ServiceProcess(settings, arguments, self._log)

    def wait_until_up(self) -> None:
        """Wait until the page answers. Raises BadInput where it does not come up."""
        deadline = time.monotonic() + _START_S
        while not _answers(self._port):
            self.process.keep_alive()
            if time.monotonic() > deadline:
                raise BadInput(f"the page did not come up within {_START_S:g} s; {self._log} says more")
            time.sleep(_POLL_S)


def free_port(port: int) -> int:
    """``port``, or for 0 any that is free. Raises BadInput where another program listens there."""
    from tribrain.ui.serving import listening

    with listening(_HOST, port) as sock:
        found: int = sock.getsockname()[1]
        return found


def open_in_browser(url: str) -> bool:
    """Open ``url`` in a browser; whether one was started.

    Without a screen none is, as a text browser would take over this terminal.
    """
    has_screen = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in _DISPLAYS)
    try:
        return has_screen and webbrowser.open(url)
    except webbrowser.Error:
        return False


def look_later(out: Path, settings: Settings | None) -> str:
    """How to open the page on the folder of a demo from this shell; ``settings`` of a broker that stays."""
    parts = [*_program(), "ui", "--runs", shlex.quote(str(out / "runs"))]
    if settings is not None:
        variables = {
            BOOTSTRAP_SERVERS_VARIABLE: settings.bootstrap_servers,
            TOPIC_PREFIX_VARIABLE: settings.topic_prefix,
        }
        parts = [*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), *parts]
    text = f"To look at its runs and videos in the page: {' '.join(parts)}"
    if settings is None:
        text += "\nYou cannot vote there, as this demo's broker has ended; tribrain demo --ui lets you vote."
    return text


def _program() -> list[str]:
    """The words that start this program from a shell here: its name, its path, or ``python -m`` a module."""
    beside = Path(sys.executable).with_name("tribrain")
    if not beside.exists():
        return [shlex.quote(sys.executable), "-m", "tribrain.cli"]
    found = shutil.which("tribrain")
    if found is not None and Path(found).absolute() == beside.absolute():
        return ["tribrain"]
    here = Path.cwd()
    return [shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))]


def _answers(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True
