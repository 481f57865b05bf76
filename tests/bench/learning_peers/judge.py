"""What predictions of the part kept apart are worth; one judge for all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.bench.learning_peers.pairs import Array, Flags
from trainers.evidence.prequential import PrequentialScores

AFTER = ("25", "50", "100", "all")
"""Pairs learnt."""
DEFAULT, BEST = "default", "best"


@dataclass(frozen=True, slots=True)
class Judged:
    """A peer in one setting on one set and kind of features: means over splits and orders."""

    name: str
    setting: str
    """``DEFAULT``, or ``BEST`` by cross-validation."""
    log_loss: Mapping[str, float]
    """By ``AFTER``, in nats."""
    ece: float
    """After all pairs."""
    chosen: tuple[str, ...] = ()
    """The settings that cross-validation chose, the most frequent one first."""


def judged(name: str, of_splits: Sequence[tuple[Mapping[str, Any], Flags]]) -> list[Judged]:
    """Of (what its program wrote, which of the first sides won) of every split."""
    chosen = [str(arrays["setting"]) for arrays, _ in of_splits]
    kinds = [setting for setting in (DEFAULT, BEST) if f"{setting}_all" in of_splits[0][0]]
    return [
        Judged(
            name,
            setting,
            {
                after: float(
                    np.mean([_log_loss(arrays[f"{setting}_{after}"], wins) for arrays, wins in of_splits])
                )
                for after in AFTER
            },
            float(np.mean([_ece(arrays[f"{setting}_all"], wins) for arrays, wins in of_splits])),
            tuple(sorted(set(chosen), key=chosen.count, reverse=True)) if setting == BEST else (),
        )
        for setting in kinds
    ]


def shown(setting: str) -> str:
    """A setting as a program wrote it, for a table."""
    given = json.loads(setting)
    return given.get("arguments", ", ".join(f"{name}={value}" for name, value in given.items())) or DEFAULT


def best_of(rows: Sequence[Judged], after: str) -> Judged:
    return min(rows, key=lambda row: row.log_loss[after])


def _log_loss(p: Array, wins: Flags) -> float:
    """Mean over orders (first axis) and pairs, each kept 1e-12 away from 0, as ``prequential`` does."""
    return float(-np.log(np.maximum(_of_the_better(p, wins), 1e-12)).mean())


def _ece(p: Array, wins: Flags) -> float:
    of_orders = []
    for of_better in _of_the_better(p, wins):
        scores = PrequentialScores()
        scores.add_many(np.ascontiguousarray(of_better), np.full(len(of_better), 0.5))
        of_orders.append(scores.figures()["ece"])
    return float(np.mean(of_orders))


def _of_the_better(p: Array, wins: Flags) -> Array:
    return np.where(wins, p, 1.0 - p)
