"""The commands that the README and the stack's page give, in their order."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.compose.stack import ROOT, Stack

pytestmark = pytest.mark.compose


@pytest.mark.parametrize("page", ["README.md", "docs/STACK.md"])
def test_every_docker_command_of_the_page_runs(page: str, new_stack: Callable[..., Stack]) -> None:
    stack = new_stack()
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("docker ")]
    assert commands
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=stack.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
