"""The tasks that a learner is in the middle of: what the models were before any pair of each was learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainers.compiled import Array, Ints
from trainers.kernels import add_gains, predict_rows
from trainers.models import Rows
from trainers.other_version import LARGEST_SUM, within
from trainers.seen import Counts, counts_array, counts_of


@dataclass(slots=True)
class OpenTask:
    """A task that has a slot, whose rows in the arrays of ``OpenTasks`` are its own."""

    slot: int
    counts: Counts
    """Pairs learnt per label source."""


class OpenTasks:
    """Open tasks in the order in which they were opened, by name; slots are rows of arrays that grow."""

    def __init__(self) -> None:
        self.by_name: dict[str, OpenTask] = {}
        self.served: Array = np.zeros((0, 0))
        """(slots, d): coefficients of the served model, per unit of score, as the task was opened."""
        self.reference: Array = np.zeros((0, 1))
        """(slots, 1): that of the critics' mean."""
        self._gain: Array = np.zeros(0)
        """(slots,): nats by which the served model was better than the reference, summed over the pairs."""
        self._n_trusted: Ints = np.zeros(0, dtype=np.int64)
        """(slots,): pairs of people and validators in that sum."""
        self._free: list[int] = []
        self._left: list[int] = []

    def open(self, name: str, counts: Counts) -> OpenTask:
        """A task that begins, or goes on with ``counts``; its coefficients are still to be written."""
        if not self._free:
            self._grow()
        task = self.by_name[name] = OpenTask(self._free.pop(), counts)
        self._gain[task.slot] = 0.0
        self._n_trusted[task.slot] = 0
        return task

    def write(self, name: str, served: Array, reference: Array) -> None:
        """Set the coefficients (d,) and (1,) of a task; what a model does not know yet is 0."""
        slot = self.by_name[name].slot
        self.served[slot] = 0.0
        self.served[slot, : len(served)] = served
        self.reference[slot] = reference if len(reference) else 0.0

    def leave(self, name: str) -> OpenTask | None:
        """It is open no more; its rows stay until ``free_left``. None where it was not open."""
        task = self.by_name.pop(name, None)
        if task is not None:
            self._left.append(task.slot)
        return task

    def free_left(self) -> None:
        """Let new tasks have the slots of those that were left."""
        self._free += self._left
        self._left.clear()

    def widen(self, d: int) -> None:
        """Have coefficients of d features."""
        missing = d - self.served.shape[1]
        if missing > 0:
            self.served = np.pad(self.served, ((0, 0), (0, missing)))

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """P (n,) of the rows by what is in their slots: of the served model, and of the reference.

        NaN for slot −1. What is said of trusted ones is added to the gain of their tasks.
        """
        p, p_reference = np.empty(len(rows.X)), np.empty(len(rows.X))
        predict_rows(rows.X, rows.slots, self.served, p)
        predict_rows(rows.means, rows.slots, self.reference, p_reference)
        counted = rows.trusted & (rows.slots >= 0)
        add_gains(p, p_reference, rows.slots, counted, self._gain, self._n_trusted)
        return p, p_reference

    def mean_gain(self, slot: int) -> float | None:
        """Nats per pair by which the served model was better; None without a pair that counts."""
        n = int(self._n_trusted[slot])
        return float(self._gain[slot]) / n if n else None

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``: JSON values, and copies of arrays."""
        slots = self._slots(self.by_name.values())
        return {
            "tasks": list(self.by_name),
            "counts": counts_array(task.counts for task in self.by_name.values()),
            "served": self.served[slots],
            "reference": self.reference[slots],
            "gain": self._gain[slots],
            "n_trusted": self._n_trusted[slots],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], d: int) -> OpenTasks:
        """The tasks that had this state, of models with d features."""
        tasks = cls()
        n = len(state["tasks"])
        tasks.served = within(state["served"], (n, d), -LARGEST_SUM, LARGEST_SUM, "coefficients")
        tasks.reference = within(state["reference"], (n, 1), -LARGEST_SUM, LARGEST_SUM, "coefficients")
        tasks._gain = within(state["gain"], (n,), -LARGEST_SUM, LARGEST_SUM, "gains")
        tasks._n_trusted = np.array(state["n_trusted"], dtype=np.int64)
        for slot, (name, counts) in enumerate(zip(state["tasks"], counts_of(state["counts"]), strict=True)):
            tasks.by_name[name] = OpenTask(slot, counts)
        return tasks

    def _grow(self) -> None:
        """Twice the slots."""
        had = len(self._gain)
        more = max(16, had)
        self.served = np.pad(self.served, ((0, more), (0, 0)))
        self.reference = np.pad(self.reference, ((0, more), (0, 0)))
        self._gain = np.pad(self._gain, (0, more))
        self._n_trusted = np.pad(self._n_trusted, (0, more))
        self._free += range(had + more - 1, had - 1, -1)

    @staticmethod
    def _slots(tasks: Iterable[OpenTask]) -> Ints:
        return np.array([task.slot for task in tasks], dtype=np.int64)
