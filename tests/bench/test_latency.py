"""From which event on the way of a pair is measured."""

from __future__ import annotations

from streams.messages.contracts import TraceEvent
from tests.bench.measures.latency import completing_events
from tests.factories import run
from trainers.pairs.pairing import PairingRules, pairs_of_run


def test_a_pair_that_only_the_end_of_its_run_makes_counts_from_the_end() -> None:
    events = run([0.1, 0.5, 0.9])
    pairs = pairs_of_run((e for e in events if isinstance(e, TraceEvent)), PairingRules())
    completing = completing_events(events)
    assert [(p.rejected_artifact, completing[p.pair_id]) for p in pairs] == [
        ("iter_01/video.mp4", ("run-a", 2)),
        ("iter_00/video.mp4", ("run-a", None)),
    ]
