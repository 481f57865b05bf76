"""Prometheus and promtool for the tests: those of this computer, else an image that is built once."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

Program = Literal["prometheus", "promtool"]
_IMAGE = "tribrain-test-prometheus:bookworm"
_DOCKERFILE = Path(__file__).with_name("prometheus.Dockerfile")
_BUILD_S = 600.0
_ANSWER_S = 10.0


def prometheus_command(program: Program, folder: Path) -> list[str]:
    """What runs the program in ``folder``, to which arguments are added.

    From ``PATH``; else in a container, for which ``folder`` is what it is here and loopback is this
    computer's. Skips the test where there is neither, unless ``REQUIRE_DOCKER=1`` or ``REQUIRE_PROMTOOL=1``.
    """
    if (found := shutil.which(program)) is not None:
        return [found]
    return [
        *("docker", "run", "--rm", "--interactive", "--network", "host"),
        *("--user", f"{os.getuid()}:{os.getgid()}"),
        *("--volume", f"{folder}:{folder}", "--workdir", str(folder), "--entrypoint", program),
        _image(),
    ]


def promtool(*arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What Prometheus' own checker says, called in ``folder``."""
    return subprocess.run(
        [*prometheus_command("promtool", folder), *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def _image() -> str:
    problem = _image_problem()
    if not problem:
        return _IMAGE
    if "1" in (os.environ.get("REQUIRE_DOCKER"), os.environ.get("REQUIRE_PROMTOOL")):
        pytest.fail(problem)
    pytest.skip(problem)


@cache
def _image_problem() -> str:
    """Builds the image; why there is none, and nothing where there is."""
    try:
        subprocess.run(["docker", "info"], check=True, capture_output=True, timeout=_ANSWER_S)
    except (OSError, subprocess.SubprocessError):
        return "no promtool and no Docker engine here: install Debian's package prometheus, or Docker"
    built = subprocess.run(
        ["docker", "build", "--quiet", "--tag", _IMAGE, "-"],
        input=_DOCKERFILE.read_text(),
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    return f"{_DOCKERFILE.name} cannot be built: {built.stderr[-1000:]}" if built.returncode else ""
