"""What a pair counts in learning: by who labelled it, and by how many of its task there are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache

from streams.messages.contracts import PreferencePair

SOURCE_WEIGHTS: Mapping[str, float] = {"human": 1.0, "outcome": 1.0, "critic": 0.02}
"""What a label counts for in the trusted model. Labels made from the mean of the features agree with it
anyway, so they teach nothing about people. What a proxy counts is in ``trainers.evidence.proxies``."""


def task_of(pair: PreferencePair) -> str:
    """The task of a pair: its run; pairs from elsewhere, which have none, name theirs.

    Labels of one task are no independent statements: they are predicted before any of them is learnt, they
    share a weight, and intervals draw tasks rather than pairs.
    """
    return pair.run_id or pair.task_id


def task_of_text(pair: PreferencePair) -> str:
    """A pair that names neither task nor run is of the task that its goal is."""
    goal = hashlib.sha256(pair.goal_instruction.encode(errors="surrogatepass")).hexdigest()
    return pair.task_id or pair.run_id or f"goal-{goal[:16]}"


@lru_cache(maxsize=4096)
def weight_of_nth(n: int) -> float:
    """What the n-th pair of one task counts where nobody knows how many will come.

    The pairs of k candidates are no k(k − 1)/2 independent statements. Together n pairs count
    n·(2/k)^¾, with the k whose pairs they would all be; each counts what it adds to that.
    """
    return _together(n) - _together(n - 1)


@lru_cache(maxsize=4096)
def weight_of_each(n: int) -> float:
    """What each of the n pairs of a task counts where they are known to be all."""
    return _together(n) / n


def _together(n: int) -> float:
    k = (1.0 + math.sqrt(1.0 + 8.0 * n)) / 2.0
    return float(n * (2.0 / k) ** 0.75)
