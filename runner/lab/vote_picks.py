"""Quality of the candidates that a model would pick, by people's judgements of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from streams.messages.contracts import PreferencePair

if TYPE_CHECKING:
    from trainers.compiled import Array, Ints


@dataclass(frozen=True, slots=True)
class Judged:
    """The m candidates in n judged pairs. A side is identified by its task, its critics and its context."""

    chosen: Ints
    """Index of the chosen side's candidate, shape (n,); in a tie, of either side."""
    rejected: Ints
    """Index of the other side's candidate, shape (n,)."""
    tasks: Ints
    """Index of each candidate's task, shape (m,)."""
    wins: Array
    """Fraction of its pairs that each candidate wins, shape (m,); a tie is half a win."""

    @classmethod
    def of(cls, pairs: Sequence[PreferencePair]) -> Judged:
        """The candidates of these pairs, which may contain ties."""
        names: dict[tuple[str, bytes], int] = {}
        chosen, rejected = (
            np.array(
                [names.setdefault((pair.task_id, _side(pair, side)), len(names)) for pair in pairs],
                dtype=np.int64,
            )
            for side in ("chosen", "rejected")
        )
        won = np.array([0.5 if pair.tie else 1.0 for pair in pairs])
        sums = _sums(chosen, won, len(names)) + _sums(rejected, 1.0 - won, len(names))
        numbers: dict[str, int] = {}
        tasks = [numbers.setdefault(task, len(numbers)) for task, _ in names]
        return cls(chosen, rejected, np.array(tasks, dtype=np.int64), sums / _counts(chosen, rejected))

    def quality_of_picks(self, p: Array) -> float:
        """The mean over tasks of the fraction of its pairs that the picked candidate wins.

        ``p`` (n,) is the probability that the chosen side is preferred. Each task picks the candidate with
        the highest mean of 2p − 1 over its pairs; candidates that are equal share the pick.
        """
        m = len(self.tasks)
        lean = 2.0 * p - 1.0
        means = _sums(self.chosen, lean, m) - _sums(self.rejected, lean, m)
        means /= _counts(self.chosen, self.rejected)
        best = np.full(int(self.tasks.max()) + 1, -np.inf)
        np.maximum.at(best, self.tasks, means)
        picked = (means >= best[self.tasks] - 1e-12).astype(np.float64)
        of_tasks = np.bincount(self.tasks, picked * self.wins) / np.bincount(self.tasks, picked)
        return float(of_tasks.mean())


def _side(pair: PreferencePair, side: str) -> bytes:
    critics, context = (
        (pair.chosen_critics, pair.chosen_context)
        if side == "chosen"
        else (pair.rejected_critics, pair.rejected_context)
    )
    return orjson.dumps([critics, context], option=orjson.OPT_SORT_KEYS)


def _sums(of: Ints, values: Array, m: int) -> Array:
    return np.asarray(np.bincount(of, values, minlength=m))


def _counts(chosen: Ints, rejected: Ints) -> Ints:
    """Number of pairs of each candidate, shape (m,)."""
    return np.asarray(np.bincount(np.concatenate([chosen, rejected])))
