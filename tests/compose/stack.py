"""The stack of ``compose/compose.yaml`` under a name of its own, as its users start it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.kafka.login import PROPERTIES
from streams.kafka.security_sources import CONFIG_VARIABLE
from streams.kafka.settings import Settings
from tests.ports import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose" / "compose.yaml"
SECURE = FILE.with_name("secure.yaml")
"""Comes on top of it."""
TOKEN = "letmeinletmeinletmein"
_COMMAND_S = 900.0
_HEALTHY_S = 120


@dataclass(kw_only=True)
class Stack:
    """Containers, volumes and ports that nothing else uses; ``runs`` holds videos, on this computer."""

    name: str
    runs: Path
    image: str
    backups: str = "backups"
    """A folder of this computer, or the volume."""
    kafka_port: int = field(default_factory=free_port)
    ui_port: int = field(default_factory=free_port)
    profiles: tuple[str, ...] = ()
    files: tuple[Path, ...] = (FILE,)
    login: Path | None = None
    """The folder of a user's, where Kafka asks who you are."""

    @property
    def settings(self) -> Settings:
        """Kafka as this computer reaches it."""
        if self.login is not None:
            return Settings.from_environment(None, {CONFIG_VARIABLE: str(self.login / PROPERTIES)})
        return Settings(bootstrap_servers=f"127.0.0.1:{self.kafka_port}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TRIBRAIN_STACK": self.name,
            "TRIBRAIN_IMAGE": self.image,
            "TRIBRAIN_BROKER_PORT": str(self.kafka_port),
            "TRIBRAIN_UI_PORT": str(self.ui_port),
            "TRIBRAIN_UI_TOKEN": TOKEN,
            "TRIBRAIN_RUNS": str(self.runs),
            "TRIBRAIN_BACKUPS": self.backups,
            "TRIBRAIN_DEMO_ITERS": "3",
            "COMPOSE_PROFILES": ",".join(self.profiles),
        }

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", "compose", *(word for file in self.files for word in ("-f", str(file))), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
        )
        assert not check or done.returncode == 0, f"docker compose {arguments}: {done.stderr[-3000:]}"
        return done

    def up(self, *arguments: str, within_s: int = _HEALTHY_S) -> None:
        """Return once every service is healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(within_s), *arguments)

    def bring_back(self) -> None:
        """Start what has ended, and return once all is well again, however it is now."""
        self.compose("up", "--detach", "--no-build")
        for service in ("kafka", "trainer", "ui"):
            self.wait_until_healthy(service)

    def down(self, *, with_volumes: bool = False) -> None:
        self.compose("down", "--timeout", "30", *(["--volumes"] if with_volumes else []))

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What ``docker inspect`` says of those that are there, whether they run or not."""
        names = self.compose("ps", "--all", "--quiet", *([service] if service else [])).stdout.split()
        return json.loads(docker("inspect", *names)) if names else []

    def container(self, service: str) -> str:
        """The id of its only container."""
        (found,) = self.containers(service)
        return str(found["Id"])

    def health(self, service: str) -> str:
        """``healthy``, ``unhealthy`` or ``starting``; ``none`` where it does not run."""
        found = [each["State"] for each in self.containers(service)]
        states = {
            state.get("Health", {}).get("Status", "none") if state["Running"] else "none" for state in found
        }
        return states.pop() if len(states) == 1 else "none"

    def wait_until_healthy(self, service: str, within_s: float = _HEALTHY_S) -> None:
        wait_until(lambda: self.health(service) == "healthy", within_s)

    def unhealthy_since(self, service: str, earliest: float) -> float:
        """When its only container became so first, from ``earliest`` on; both in seconds since 1970."""
        told = docker(
            "events", "--since", f"{earliest:.3f}", "--until", f"{time.time():.3f}",
            "--format", "{{.TimeNano}}", "--filter", f"container={self.container(service)}",
            "--filter", "event=health_status: unhealthy",
        )  # fmt: skip
        return int(told.split()[0]) / 1e9

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-log-prefix", service).stdout


def docker(*arguments: str) -> str:
    """What the command prints. Raises CalledProcessError."""
    return subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True, timeout=_COMMAND_S
    ).stdout


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that the containers' user, who is none of this computer's, may write to."""
    folder = Path(tempfile.mkdtemp(prefix="tribrain-", dir="/var/tmp"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_all(stacks: Iterable[Stack]) -> None:
    for stack in stacks:
        # Of every profile, or the volumes of those that are not in use stay.
        stack.compose(
            "--profile", "*", "down", "--timeout", "1", "--volumes", "--remove-orphans", check=False
        )
