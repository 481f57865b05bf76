"""The critics' results of an unfinished rescoring, so that it can continue after an interruption."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from runner.critics.opinion import is_missing
from streams.messages.contracts import CriticResult

NAME = "rescoring.jsonl"


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    iter_idx: int
    results: tuple[CriticResult, ...]


class RescoredSoFar:
    """``rescoring.jsonl`` in a run's folder: the first line states the task, then one line per video.

    ``task`` decides which critics judge which scores; a file for another task is overwritten. ``results``
    maps ``iter_idx`` to the results; failed critics are left out. Raises OSError.
    """

    def __init__(self, run_dir: Path, task: Mapping[str, Any]) -> None:
        self.path = run_dir / NAME
        self.results: dict[int, list[CriticResult]] = {}
        head = orjson.dumps(task, option=orjson.OPT_SORT_KEYS)
        first, *lines = (self.path.read_bytes() if self.path.exists() else b"").split(b"\n")
        if first != head:
            self.path.write_bytes(head + b"\n")
            return
        kept = [head]
        for line in lines[:-1]:  # a line without an end was cut short
            try:
                said = msgspec.json.decode(line, type=_Line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
            kept.append(line)
            self._take(said.iter_idx, said.results)
        os.truncate(self.path, sum(len(line) + 1 for line in kept))

    def add(self, iter_idx: int, results: Sequence[CriticResult]) -> None:
        """Durably."""
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(_Line(iter_idx, tuple(results))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(iter_idx, results)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _take(self, iter_idx: int, results: Sequence[CriticResult]) -> None:
        said = [result for result in results if not is_missing(result)]
        self.results.setdefault(iter_idx, []).extend(said)
