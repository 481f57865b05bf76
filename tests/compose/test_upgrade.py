"""An image made of the commit before, and then of this checkout, over the same volumes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.compose.learnt import check_learnt, published
from tests.compose.stack import ROOT, Stack, docker
from tests.waiting import wait_until

pytestmark = pytest.mark.compose

_BEFORE = "tribrain:before"


@pytest.fixture(scope="module")
def image_before(engine: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Skips where this checkout has no commit before its newest, as a shallow clone."""
    folder = tmp_path_factory.mktemp("before")
    archive = folder / "before.tar"
    made = subprocess.run(
        ["git", "archive", "--output", str(archive), "HEAD~1"], cwd=ROOT, capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip(f"there is no commit before this one: {made.stderr.strip()}")
    source = folder / "source"
    source.mkdir()
    subprocess.run(["tar", "-x", "-f", str(archive), "-C", str(source)], check=True)
    docker(
        "build",
        "--quiet",
        "--target",
        "core",
        "--file",
        str(source / "compose" / "Dockerfile"),
        "--tag",
        _BEFORE,
        str(source),
    )
    return _BEFORE


def test_an_upgrade_loses_and_doubles_nothing(image_before: str, new_stack: Callable[..., Stack]) -> None:
    stack = new_stack()
    this, stack.image = stack.image, image_before
    # Not --wait: the health check is that of today, and the program is not.
    stack.compose("up", "--detach", "--no-build", "trainer")
    wait_until(lambda: stack.health("kafka") == "healthy")
    runs = published(stack, 8, "before-the-upgrade")
    check_learnt(stack, runs)
    runs = [*runs, *published(stack, 8, "while-it-is-upgraded")]
    stack.image = this
    stack.up()
    check_learnt(stack, [*runs, *published(stack, 8, "after-the-upgrade")])
