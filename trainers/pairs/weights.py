"""The weight of a pair in learning: by its label source, and by the number of pairs of its task."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache

from streams.messages.contracts import PreferencePair

SOURCE_WEIGHTS: Mapping[str, float] = {"human": 1.0, "outcome": 1.0, "critic": 0.02}
"""Label weights in the trusted model. Labels from the mean of the features agree with it anyway, so they
teach nothing about people. ``trainers.evidence.proxies`` has the weights of proxies."""


def task_of(pair: PreferencePair) -> str:
    """The task of a pair: its run; pairs from elsewhere, which have no run, name their task.

    Labels of one task are not independent: all are predicted before any of them is learnt, they share a
    weight, and intervals draw tasks rather than pairs.
    """
    return pair.run_id or pair.task_id


def task_of_text(pair: PreferencePair) -> str:
    """The task of a pair of texts: the one it names, else its run, else its goal."""
    goal = hashlib.sha256(pair.goal_instruction.encode(errors="surrogatepass")).hexdigest()
    return pair.task_id or pair.run_id or f"goal-{goal[:16]}"


@lru_cache(maxsize=4096)
def weight_of_nth(n: float) -> float:
    """The weight of the n-th pair of a task if the total is unknown; n is no whole number if pairs before it
    count in part.

    The pairs of k candidates are not k(k − 1)/2 independent statements. Together n pairs weigh n·(2/k)^¾,
    with the k whose pairs they would all be; each pair weighs what it adds to that.
    """
    return _together(n) - _together(n - 1)


@lru_cache(maxsize=4096)
def weight_of_each(n: float) -> float:
    """The weight of each of the n pairs of a task if there are no others."""
    return _together(n) / n


def _together(n: float) -> float:
    k = (1.0 + math.sqrt(1.0 + 8.0 * n)) / 2.0
    return float(n * (2.0 / k) ** 0.75)
