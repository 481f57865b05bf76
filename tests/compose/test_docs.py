"""The commands that the README and the stack's page give, in their order."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compose.stack import FILE, ROOT, SECURE, Stack

pytestmark = pytest.mark.compose


@pytest.mark.parametrize("page", ["README.md", "docs/STACK.md"])
def test_every_docker_command_of_the_page_runs(
    page: str, new_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    # Of all that a page may start, so that all of it is gone at the end.
    stack = new_stack(files=(FILE, SECURE))
    # What a page copies out of the stack goes home.
    docker_config = os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))
    environment = stack.environment | {"HOME": str(tmp_path), "DOCKER_CONFIG": docker_config}
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("docker ")]
    assert commands
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
