"""Pairs from the files that runs and commands leave."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from streams.errors import BadInput
from streams.messages import files
from streams.messages.contracts import PairMessage, PairStrategy, PreferencePair
from trainers.pairs.pairing import PairingRules, pairs_of_run


def read_pairs(path: str | PathLike[str]) -> list[PairMessage]:
    """The pairs and other messages in the file ``path``, a ``pairs.jsonl``, in its order.

    Raises BadInput for a file that is missing, empty or damaged, with the line.
    """
    return files.read_pairs(Path(path))


def pairs_from_runs(
    *runs: str | PathLike[str],
    strategy: PairStrategy = "best_vs_rest",
    min_gap: float = 0.03,
    top_k: int = 1,
    model: str = "default",
) -> list[PreferencePair]:
    """The pairs of runs by their folders, as ``tribrain pairs export`` writes them for each.

    They are pairs by the critics' scores and, where iterations have an outcome, pairs by outcome.

    - ``runs``: folders with a ``trace.jsonl``, at least one
    - ``strategy``: ``best_vs_rest`` pairs the best candidates with all others, ``adjacent`` each with the one
      before it
    - ``min_gap``: the least difference of two candidates' scores, which are in [0, 1]
    - ``top_k``: how many of the best are compared with the rest
    - ``model``: the name of the reward model that the pairs are for

    Raises BadInput for no folder, a trace that is missing or damaged, and a value out of range.
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
