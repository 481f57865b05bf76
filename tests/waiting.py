"""Waiting for what another thread or process does; the one place in the tests where time passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LOOK_AGAIN_S = 0.02


def wait_until(predicate: Callable[[], object], timeout_s: float = 45.0) -> None:
    """Return once ``predicate`` is true; AssertionError after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    never = threading.Event()
    while not predicate():
        assert time.monotonic() < deadline, f"not true within {timeout_s:g} s"
        never.wait(_LOOK_AGAIN_S)


class Reached:
    """Whether a moment of the monotonic clock has come."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def __call__(self) -> bool:
        return time.monotonic() >= self._moment


def let_time_pass(seconds: float) -> None:
    """For faults that last: nothing is waited for but the clock."""
    wait_until(Reached(time.monotonic() + seconds), 2 * seconds + 1.0)
