"""A real Docker engine, the image of this checkout, and a stack that the tests of a module share."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.compose.stack import Stack, docker, end_all, shared_folder

_IMAGE = "tribrain:test"


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where no Docker engine with Compose answers; with ``REQUIRE_DOCKER=1`` that fails."""
    try:
        docker("info")
        docker("compose", "version")
    except (OSError, subprocess.SubprocessError):
        missing = "no Docker engine with Compose answers: start one, or set DOCKER_HOST"
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """Built of this checkout, as the stack builds it."""
    Stack(name="tribrain-test-build", runs=Path("/nowhere"), image=_IMAGE).compose("build", "trainer")
    return _IMAGE


@pytest.fixture(scope="module")
def new_stack(image: str) -> Iterator[Callable[..., Stack]]:
    """Makes stacks that do not run yet; they are gone at the end, with their volumes and folders."""
    made: list[Stack] = []
    with ExitStack() as folders:

        def new(**options: Any) -> Stack:
            runs = folders.enter_context(shared_folder())
            values = {
                "name": f"tribrain-test-{uuid.uuid4().hex[:8]}",
                "runs": runs,
                "image": image,
                **options,
            }
            made.append(Stack(**values))
            return made[-1]

        yield new
        end_all(made)


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., Stack]) -> Stack:
    """The default stack, healthy within the minute that is promised."""
    made = new_stack()
    made.up(within_s=60)
    return made
