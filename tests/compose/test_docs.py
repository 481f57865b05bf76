"""What the pages with commands of Docker say to type is typed, in its order, and works."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compose.stack import FILE, SECURE, Stack
from tests.docs.pages import blocks_of
from tests.docs.plan import READINGS, WITH_DOCKER
from tests.docs.reader import Reader, kind_of, lines_of

pytestmark = pytest.mark.compose


@pytest.mark.parametrize("page", WITH_DOCKER)
def test_every_command_of_the_page_runs(page: str, new_stack: Callable[..., Stack], tmp_path: Path) -> None:
    # Of all that a page may start, so that all of it is gone at the end.
    stack = new_stack(files=(FILE, SECURE))
    # What a page copies out of the stack goes home.
    docker_config = os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))
    environment = stack.environment | {"HOME": str(tmp_path), "DOCKER_CONFIG": docker_config}
    reader = Reader(tmp_path, environment, {"9092": str(stack.kafka_port)}, has_docker=True)
    blocks = [block for block in blocks_of(page) if block.language == "sh"]
    if page in READINGS:
        # All else is read without Docker.
        blocks = [block for block in blocks if lines_of([block], lambda line: kind_of(line) == "docker")]
    assert blocks
    try:
        for block in blocks:
            reader.read(block)
    finally:
        reader.stop()
