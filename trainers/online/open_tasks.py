"""The learner's open tasks, with the models from before any pair of each was learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainers.bradley_terry.kernels import add_gains, predict_rows
from trainers.bradley_terry.losses import Gain
from trainers.compiled import Array, Ints
from trainers.online.models import Rows
from trainers.other_version import LARGEST_SUM, within
from trainers.pairs.seen import Counts, counts_array, counts_of


@dataclass(slots=True)
class OpenTask:
    """A task with a slot, which is its row in the arrays of ``OpenTasks``."""

    slot: int
    counts: Counts
    """How much was learnt per label source."""
    is_closed: bool = False
    """Whether the run had already ended, so that only people and judges still label it."""


class OpenTasks:
    """Open tasks by name, in the order in which they were opened; slots are rows of growing arrays."""

    def __init__(self) -> None:
        self.by_name: dict[str, OpenTask] = {}
        self.late: dict[str, None] = {}
        """Tasks that a first trusted label reopened, in the order of each one's last such label."""
        self.served: Array = np.zeros((0, 0))
        """(slots, d): coefficients of the served model, per unit of score, when the task was opened."""
        self.reference: Array = np.zeros((0, 1))
        """(slots, 1): coefficient of the critics' mean."""
        self._gains: Array = np.zeros((0, 3))
        """(slots, 3): sums over the pairs of the served model's ``Gain``."""
        self._n_trusted: Ints = np.zeros(0, dtype=np.int64)
        """(slots,): pairs of people and validators in that sum."""
        self._free: list[int] = []
        self._left: list[int] = []

    def open(self, name: str, counts: Counts) -> OpenTask:
        """A task that starts, or continues with ``counts``; its coefficients are still to be written."""
        if not self._free:
            self._grow()
        task = self.by_name[name] = OpenTask(self._free.pop(), counts)
        self._gains[task.slot] = 0.0
        self._n_trusted[task.slot] = 0
        return task

    def write(self, name: str, served: Array, reference: Array) -> None:
        """Set the coefficients (d,) and (1,) of a task; those of unknown features are 0."""
        slot = self.by_name[name].slot
        self.served[slot] = 0.0
        self.served[slot, : len(served)] = served
        self.reference[slot] = reference if len(reference) else 0.0

    def leave(self, name: str) -> OpenTask | None:
        """Remove a task; its rows stay until ``free_left``. None if it was not open."""
        task = self.by_name.pop(name, None)
        self.late.pop(name, None)
        if task is not None:
            self._left.append(task.slot)
        return task

    def free_left(self) -> None:
        """Let new tasks reuse the slots of removed ones."""
        self._free += self._left
        self._left.clear()

    def widen(self, d: int) -> None:
        """Make room for coefficients of d features."""
        missing = d - self.served.shape[1]
        if missing > 0:
            self.served = np.pad(self.served, ((0, 0), (0, missing)))

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """P (n,) of the rows by the coefficients in their slots: of the served model, and of the reference.

        NaN for slot −1. Predictions of trusted labels that are no ties add to the gain of their tasks.
        """
        p, p_reference = np.empty(len(rows.X)), np.empty(len(rows.X))
        predict_rows(rows.X, rows.slots, self.served, p)
        predict_rows(rows.means, rows.slots, self.reference, p_reference)
        counted = rows.trusted & ~rows.ties & (rows.slots >= 0)
        add_gains(p, p_reference, rows.slots, counted, self._gains, self._n_trusted)
        return p, p_reference

    def mean_gain(self, slot: int) -> Gain | None:
        """Mean gain of the served model; None without a pair that counts."""
        n = int(self._n_trusted[slot])
        return Gain(*(self._gains[slot] / n).tolist()) if n else None

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``: JSON values, and copies of arrays."""
        slots = self._slots(self.by_name.values())
        return {
            "tasks": list(self.by_name),
            "late": list(self.late),
            "closed": [name for name, task in self.by_name.items() if task.is_closed],
            "counts": counts_array(task.counts for task in self.by_name.values()),
            "served": self.served[slots],
            "reference": self.reference[slots],
            "gains": self._gains[slots],
            "n_trusted": self._n_trusted[slots],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], d: int) -> OpenTasks:
        """The tasks with this state, of models with d features."""
        tasks = cls()
        n, closed = len(state["tasks"]), frozenset(state["closed"])
        tasks.served = within(state["served"], (n, d), -LARGEST_SUM, LARGEST_SUM, "coefficients")
        tasks.reference = within(state["reference"], (n, 1), -LARGEST_SUM, LARGEST_SUM, "coefficients")
        tasks._gains = within(state["gains"], (n, 3), -LARGEST_SUM, LARGEST_SUM, "gains")
        for gain in tasks._gains.tolist():
            Gain(*gain).check()
        tasks._n_trusted = np.array(state["n_trusted"], dtype=np.int64)
        for slot, (name, counts) in enumerate(zip(state["tasks"], counts_of(state["counts"]), strict=True)):
            tasks.by_name[name] = OpenTask(slot, counts, is_closed=name in closed)
        tasks.late = dict.fromkeys(state["late"])
        if unknown := tasks.late.keys() - tasks.by_name.keys():
            raise ValueError(f"{sorted(unknown)[0]!r} is not open, but is listed as reopened")
        return tasks

    def _grow(self) -> None:
        """Doubles the slots."""
        had = len(self._gains)
        more = max(16, had)
        self.served = np.pad(self.served, ((0, more), (0, 0)))
        self.reference = np.pad(self.reference, ((0, more), (0, 0)))
        self._gains = np.pad(self._gains, ((0, more), (0, 0)))
        self._n_trusted = np.pad(self._n_trusted, (0, more))
        self._free += range(had + more - 1, had - 1, -1)

    @staticmethod
    def _slots(tasks: Iterable[OpenTask]) -> Ints:
        return np.array([task.slot for task in tasks], dtype=np.int64)
