"""Watches folders of runs while runs are in progress."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from streams.errors import BadInput
from streams.messages.codec import ContractError
from streams.messages.files import trace_line
from tribrain.ui.library import Library

_EVERY_S = 2.0
_SHARE = 20
"""The pause after a slow scan is this many times as long as the scan."""
_TRACE = "trace.jsonl"


class FolderWatch:
    """Adds new events from the traces below ``roots`` to a library, in one daemon thread.

    Raises BadInput for a root that is not a folder.
    """

    def __init__(self, roots: Sequence[Path], library: Library) -> None:
        for root in roots:
            if not root.is_dir():
                raise BadInput(f"--runs {root}: no such folder; give one that holds runs")
        self._roots = tuple(root.resolve() for root in roots)
        self._library = library
        self._read: dict[Path, int] = {}
        self._failed: dict[str, str] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="runs-folders", daemon=True)

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(2.0)

    def look(self) -> None:
        """Read new lines of all traces; what cannot be read is a problem until it can be."""
        failed: dict[str, str] = {}
        for root in self._roots:
            for trace in _traces_below(root, failed):
                # A link could lead outside the folders that the user wants to show.
                if not Path(os.path.realpath(trace)).is_relative_to(root):
                    self._library.problems.report(str(trace), "is a link out of its folder and is skipped")
                    continue
                try:
                    self._read_on(trace)
                except FileNotFoundError:
                    continue  # it was deleted since it was found
                except OSError as error:
                    failed[str(trace)] = _unreadable(error)
        for place, reason in failed.items():
            self._library.problems.report(place, reason)
        for place, reason in self._failed.items():
            if place not in failed:
                self._library.problems.settle(place, reason)
        self._failed = failed
        self._library.look_for_missing()

    def _read_on(self, trace: Path) -> None:
        size = trace.stat().st_size
        done = self._read.get(trace, 0)
        if size == done:
            return
        if size < done:  # the file was rewritten
            done = 0
        with trace.open("rb") as file:
            file.seek(done)
            whole, newline, _ = file.read().rpartition(b"\n")
        at_ms = int(trace.stat().st_mtime * 1000)
        for line in whole.split(b"\n"):
            if not line.strip():
                continue
            try:
                message = trace_line(line, str(trace))
            except ContractError as error:
                self._library.problems.report(str(trace), str(error))
                continue
            self._library.place(message.run_id, trace.parent)
            self._library.take(message, at_ms)
        self._read[trace] = done + len(whole) + len(newline)

    def _watch(self) -> None:
        pause_s = _EVERY_S
        while not self._closing.wait(pause_s):
            begun_s = time.monotonic()
            self.look()
            pause_s = max(_EVERY_S, _SHARE * (time.monotonic() - begun_s))


def _traces_below(root: Path, failed: dict[str, str]) -> list[Path]:
    """All traces in a folder; adds the folders that cannot be read to ``failed``, with the reason."""

    def note(error: OSError) -> None:
        # A folder below the root may be deleted at any time.
        if not isinstance(error, FileNotFoundError) or Path(error.filename) == root:
            failed[str(error.filename)] = _unreadable(error)

    return sorted(Path(place) / _TRACE for place, _, files in os.walk(root, onerror=note) if _TRACE in files)


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
