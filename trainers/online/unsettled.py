"""Votes of little-known annotators, kept to be re-weighted once more is known.

An annotator's first votes are learnt before it is known how far to trust them. Whenever the number of
comparisons with other people has doubled, their weights are corrected: part of each step is undone
(``trainers.bradley_terry.undo``), or more is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainers.compiled import Array, Ints
from trainers.other_version import LARGEST_SUM, within

MOST_VOTES, MOST_NUMBERS = 2_000, 50_000
"""Limits of kept votes, and of their differences in total; beyond them the oldest votes are dropped."""


@dataclass(slots=True)
class UnsettledVote:
    """A vote that was learnt."""

    annotator: str
    name: str
    """The vote's name if it may be taken back; else empty."""
    task: str
    columns: Ints
    """(k,): features that both sides have."""
    differences: Array
    """(k,)"""
    tie: bool
    weight: float
    """The vote's weight if its annotator were fully trusted."""
    trust: float
    """The fraction of that weight with which it was learnt, in [0, 1]."""

    def row(self, features: int) -> Array:
        """(features,): its differences, NaN if missing."""
        row = np.full(features, np.nan)
        row[self.columns] = self.differences
        return row


@dataclass(slots=True)
class UnsettledVotes:
    """Votes in the order in which they were learnt."""

    votes: list[UnsettledVote] = field(default_factory=list)
    _numbers: int = 0

    def keep(
        self, annotator: str, name: str, task: str, row: Array, *, tie: bool, weight: float, trust: float
    ) -> None:
        """Keep a learnt vote with the differences of row (d,)."""
        columns = np.flatnonzero(np.isfinite(row))
        self.votes.append(UnsettledVote(annotator, name, task, columns, row[columns], tie, weight, trust))
        self._numbers += len(columns)
        while len(self.votes) > MOST_VOTES or self._numbers > MOST_NUMBERS:
            self._numbers -= len(self.votes.pop(0).columns)

    def of(self, annotator: str) -> list[UnsettledVote]:
        """The kept votes of an annotator."""
        return [vote for vote in self.votes if vote.annotator == annotator]

    def let_go(self, annotator: str = "", name: str = "") -> None:
        """Drop the votes of an annotator who is now well known, or the named vote, which was taken back."""
        self.votes = [
            vote
            for vote in self.votes
            if not (annotator and vote.annotator == annotator) and not (name and vote.name == name)
        ]
        self._numbers = sum(len(vote.columns) for vote in self.votes)

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``: JSON values, and arrays."""
        return {
            "annotators": [vote.annotator for vote in self.votes],
            "names": [vote.name for vote in self.votes],
            "tasks": [vote.task for vote in self.votes],
            "counts": np.array([len(vote.columns) for vote in self.votes], dtype=np.int64),
            "columns": np.concatenate([np.empty(0, np.int64), *(vote.columns for vote in self.votes)]),
            "differences": np.concatenate([np.empty(0), *(vote.differences for vote in self.votes)]),
            "ties": np.array([vote.tie for vote in self.votes], dtype=np.int64),
            "weights": np.array([(vote.weight, vote.trust) for vote in self.votes]).reshape(-1, 2),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], features: int) -> UnsettledVotes:
        """The votes with this state, for a learner with this many features. Raises ValueError."""
        n = len(state["annotators"])
        counts = within(state["counts"], (n,), 0.0, features, "counts of differences").astype(np.int64)
        numbers = int(counts.sum())
        columns = within(state["columns"], (numbers,), 0.0, features - 1, "columns").astype(np.int64)
        differences = within(state["differences"], (numbers,), -LARGEST_SUM, LARGEST_SUM, "differences")
        ties = within(state["ties"], (n,), 0.0, 1.0, "ties").astype(np.bool_)
        weights = within(state["weights"], (n, 2), 0.0, LARGEST_SUM, "weights of votes")
        kept = cls()
        ends = np.cumsum(counts)
        tasks = state.get("tasks", [""] * n)  # earlier states name none
        names = zip(state["annotators"], state["names"], tasks, strict=True)
        for i, (annotator, name, task) in enumerate(names):
            own = slice(ends[i] - counts[i], ends[i])
            kept.votes.append(
                UnsettledVote(
                    str(annotator), str(name), str(task), columns[own], differences[own], bool(ties[i]),
                    float(weights[i, 0]), float(weights[i, 1]),
                )
            )  # fmt: skip
        kept._numbers = numbers
        return kept
