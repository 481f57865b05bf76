"""A backup of one stack, restored into the empty volume of another."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from tests.compose.learnt import check_learnt, published
from tests.compose.stack import Stack, shared_folder

pytestmark = pytest.mark.compose


def test_a_restored_stack_knows_the_same_and_goes_on(new_stack: Callable[..., Stack]) -> None:
    with shared_folder() as backups:
        source = new_stack(backups=str(backups))
        source.up("trainer")
        runs = published(source, 8, "before-the-backup")
        check_learnt(source, runs)
        _tool(source, "backup", "/backup/tribrain.backup")
        known = _state(source)
        source.down(with_volumes=True)

        restored = new_stack(backups=str(backups))
        restored.up("kafka")
        restored.compose(
            "run", "--rm", "--no-TTY", "--no-deps", "tools", "restore", "/backup/tribrain.backup"
        )
        restored.up()
        assert _state(restored) == known
        check_learnt(restored, [*runs, *published(restored, 8, "after-it")])


def _state(stack: Stack) -> object:
    """What verify-state says."""
    return orjson.loads(_tool(stack, "verify-state", "--json"))


def _tool(stack: Stack, *arguments: str) -> str:
    return stack.compose("run", "--rm", "--no-TTY", "--no-deps", "tools", *arguments).stdout
