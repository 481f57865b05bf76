"""The critics' results of an unfinished rescoring, so that it can continue after an interruption."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from runner.critics.opinion import is_missing
from runner.loop.rescoring import kept_where_failed
from streams.messages.contracts import CriticResult
from streams.messages.no_score import critic_failed

NAME = "rescoring.jsonl"


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    iter_idx: int
    results: tuple[CriticResult, ...]


class RescoredSoFar:
    """``rescoring.jsonl`` in a run's folder: the first line states the task, then one line per video.

    ``task`` decides which critics judge which scores; a file for another task is overwritten. ``results``
    maps ``iter_idx`` to the results, one of each critic; those without a score because the critic failed are
    left out. Raises OSError.
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
        """Add a video's results durably."""
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(_Line(iter_idx, tuple(results))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(iter_idx, results)

    def still_asked(self, iter_idx: int, critics: Iterable[str]) -> list[str]:
        """The ``critics`` that have not judged this video, or failed on it, even in part."""
        judged = {one.critic_name for one in self.results.get(iter_idx, ()) if not critic_failed(one)}
        return [name for name in critics if name not in judged]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _take(self, iter_idx: int, results: Sequence[CriticResult]) -> None:
        for result in results:
            if not is_missing(result):
                before = self.results.get(iter_idx, [])
                others = [one for one in before if one.critic_name != result.critic_name]
                self.results[iter_idx] = [*others, kept_where_failed(result, before)]
