"""Shows what generators print, so that a person sees that they are at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import click

_EVERY_S = 30.0


class GeneratorLines:
    """Shows the newest line of a candidate's generator; called from any thread.

    They appear beside a progress bar, where there is one. Else, as in the log of a job, they go to standard
    error: the first line of a candidate, and then one every half minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._show: Callable[[str], None] | None = None
        self._said: dict[Path, float] = {}
        self._lock = threading.Lock()

    def shown_by(self, show: Callable[[str], None] | None) -> None:
        self._show = show

    def __call__(self, out_dir: Path, line: str) -> None:
        text = f"{out_dir.name}: {line}"
        if self._show is not None:
            self._show(text)
            return
        with self._lock:
            now = self._clock()
            if out_dir in self._said and now - self._said[out_dir] < _EVERY_S:
                return
            self._said[out_dir] = now
        click.echo(text, err=True)
