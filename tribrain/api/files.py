"""Pairs from the files that runs and commands leave."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from streams.errors import BadInput
from streams.messages import files
from streams.messages.contracts import PairMessage, PairStrategy, PreferencePair
from trainers.pairs.pairing import PairingRules, pairs_of_run


def read_pairs(path: str | PathLike[str]) -> list[PairMessage]:
    """The pairs of a ``pairs.jsonl``, and what stands between them, in its order. Raises BadInput."""
    return files.read_pairs(Path(path))


def pairs_from_runs(
    *runs: str | PathLike[str],
    strategy: PairStrategy = "best_vs_rest",
    min_gap: float = 0.03,
    top_k: int = 1,
    model: str = "default",
) -> list[PreferencePair]:
    """The pairs of runs by their folders, as ``tribrain pairs export`` writes them for each.

    They are those by the critics' scores and, where iterations carry an outcome, by that. Raises BadInput.
    """
    if not runs:
        raise BadInput("no run is named; expected the folder of at least one, with its trace.jsonl")
    rules = PairingRules(strategy=strategy, min_gap=min_gap, top_k=top_k, model=model)
    return [
        pair
        for run in runs
        for events in files.read_events_by_run(Path(run) / "trace.jsonl").values()
        for pair in pairs_of_run(events, rules)
    ]
