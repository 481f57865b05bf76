"""Ctrl-C, SIGTERM and a closed terminal: one KeyboardInterrupt, at a moment that leaves nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Raises KeyboardInterrupt in the main thread at the first SIGINT, SIGTERM or SIGHUP in its block.

    Later signals are ignored, so that an impatient second Ctrl-C cannot stop the cleanup half-way. A signal
    that is ignored from the start stays so: the user asked for that, by nohup or a script's background job.
    """

    def __init__(self) -> None:
        self._received = False
        self._due = False
        self._holders = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold back a signal until the block ends, for work that must not be left half done."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
        if self._due and not self._holders:
            self._due = False
            raise KeyboardInterrupt

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._received:
            return
        self._received = True
        if self._holders:
            self._due = True
        else:
            raise KeyboardInterrupt
