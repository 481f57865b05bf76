"""The pairs of finished runs."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from streams.errors import BadInput
from streams.messages.contracts import PairStrategy, PreferencePair
from streams.messages.files import read_events_by_run
from trainers.pairs.pairing import PairingRules, pairs_of_run


def pairs_from_runs(
    *runs: str | PathLike[str],
    strategy: PairStrategy = "best_vs_rest",
    min_gap: float = 0.03,
    top_k: int = 1,
    model: str = "default",
) -> list[PreferencePair]:
    """The pairs of runs by their folders, as ``tribrain export-preference-pairs`` writes them for each.

    They are those by the critics' scores and, where iterations carry an outcome, by that. Raises BadInput.
    """
    if not runs:
        raise BadInput("no run is named; expected the folder of at least one, with its trace.jsonl")
    rules = PairingRules(strategy=strategy, min_gap=min_gap, top_k=top_k, model=model)
    traces = [Path(run) / "trace.jsonl" for run in runs]
    return [
        pair
        for trace in traces
        for events in read_events_by_run(trace).values()
        for pair in pairs_of_run(events, rules)
    ]
