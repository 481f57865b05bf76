"""Whether one model is shown to be better than another on the same pairs, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.evidence.evaluate import Measured, figures

Array = NDArray[np.float64]
Interval = tuple[float, float]

_RESAMPLES = 2000
LEAST_TASKS = 20
"""Fewest tasks on which a difference can be shown. With one task, an interval has no width at all."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One model minus another, with 95% intervals of a paired bootstrap over tasks."""

    accuracy: float
    accuracy_ci95: Interval
    log_loss: float
    """Difference of the log losses, in nats; below 0 is better."""
    log_loss_ci95: Interval
    n_tasks: int

    @property
    def is_shown(self) -> bool:
        """Whether the one model is shown to be better by log loss."""
        return self.n_tasks >= LEAST_TASKS and self.log_loss_ci95[1] < 0

    @property
    def is_worse(self) -> bool:
        """Whether the one model is shown to be worse by log loss."""
        return self.n_tasks >= LEAST_TASKS and self.log_loss_ci95[0] > 0

    def statement(self, name: str, other: str) -> str:
        """A sentence that claims no more than the intervals show."""
        better, worse = self._shown(1.0), self._shown(-1.0)
        if self.n_tasks < LEAST_TASKS:
            verdict = (
                f"{name} is not shown to be better than {other}, nor worse, as {self.n_tasks} held-out tasks "
                f"are too few to tell (at least {LEAST_TASKS})"
            )
        elif better and not worse:
            verdict = f"{name} is shown to be better than {other} in {' and '.join(better)}"
            verdict += "" if len(better) == 2 else f", not in {self._other(better[0])}"
        elif worse and not better:
            verdict = f"{name} is shown to be worse than {other} in {' and '.join(worse)}"
        elif better and worse:
            verdict = f"{name} is shown to be better than {other} in {better[0]} and worse in {worse[0]}"
        else:
            verdict = f"{name} is not shown to be better than {other}, nor worse"
        return (
            f"{verdict}: accuracy {self.accuracy:+.3f} {_text(self.accuracy_ci95)}, "
            f"log loss {self.log_loss:+.3f} {_text(self.log_loss_ci95)}."
        )

    def _shown(self, sign: float) -> list[str]:
        shown = [("accuracy", sign, self.accuracy_ci95), ("log loss", -sign, self.log_loss_ci95)]
        return [name for name, up, ends in shown if min(up * end for end in ends) > 0]

    @staticmethod
    def _other(measure: str) -> str:
        return "log loss" if measure == "accuracy" else "accuracy"


def differences(
    predictions: Mapping[str, Array], name: str, tasks: Sequence[str], seed: int = 0
) -> dict[str, Difference]:
    """``name`` minus each other model; predictions are P(chosen ≻ rejected) (n,) of the same n pairs."""
    numbers = {task: at for at, task in enumerate(dict.fromkeys(tasks))}
    rows = np.array([numbers[task] for task in tasks])
    size = np.bincount(rows).astype(float)
    rng = np.random.default_rng([seed, 95])
    counts = rng.multinomial(len(size), np.full(len(size), 1 / len(size)), size=_RESAMPLES)
    found = {}
    for other in predictions:
        if other == name:
            continue
        accuracy = _right(predictions[name]) - _right(predictions[other])
        log_loss = _log_loss(predictions[name]) - _log_loss(predictions[other])
        intervals = []
        for per_pair in (accuracy, log_loss):
            per_task = np.bincount(rows, per_pair)
            low, high = np.percentile(counts @ per_task / (counts @ size), [2.5, 97.5])
            intervals.append((float(low), float(high)))
        found[other] = Difference(
            float(accuracy.mean()), intervals[0], float(log_loss.mean()), intervals[1], len(size)
        )
    return found


def measured(predictions: Mapping[str, Array], tasks: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Accuracy, log loss (nats) and ECE of each model on the same pairs, with 95% intervals over tasks."""
    numbers = {task: at for at, task in enumerate(dict.fromkeys(tasks))}
    rows = np.array([numbers[task] for task in tasks])
    found = {name: figures(Measured(p[None, :], None), rows, seed=seed) for name, p in predictions.items()}
    wanted = ("accuracy", "accuracy_ci95", "log_loss", "log_loss_ci95", "ece")
    return {name: {what: of[what] for what in wanted} for name, of in found.items()}


def _right(p: Array) -> Array:
    return np.asarray((p > 0.5) + 0.5 * (p == 0.5))


def _log_loss(p: Array) -> Array:
    return np.asarray(-np.log(np.maximum(p, 1e-12)))


def _text(interval: Interval) -> str:
    low, high = interval
    return f"[{low:+.3f}, {high:+.3f}]"
