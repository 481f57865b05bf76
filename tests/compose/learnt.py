"""Runs for a stack, and that it has learnt them once."""

from __future__ import annotations

from collections.abc import Sequence

from streams.messages.contracts import RunEnd, TraceEvent
from tests.compose.stack import Stack
from tests.kafka.test_trainer import expected_pairs, interleaved, pairs_on_kafka, publish, random_runs
from tests.waiting import wait_until
from trainers.pairs.pairing import PairingRules
from trainers.processing.verify import StateReport
from tribrain.log.verify_state import state_of

Runs = Sequence[Sequence[TraceEvent | RunEnd]]
_LEARNT_S = 120.0


def published(stack: Stack, n: int, prefix: str) -> Runs:
    runs = random_runs(n, seed=len(prefix), prefix=prefix)
    publish(stack.settings, interleaved(runs, seed=1))
    return runs


def check_learnt(stack: Stack, runs: Runs) -> None:
    """Everything on the log is learnt once, and these runs are among it."""
    found: list[StateReport] = []

    def is_learnt() -> bool:
        found[:] = state_of(stack.settings, PairingRules())
        return all(each.settled and not each.open_runs for each in found)

    wait_until(is_learnt, _LEARNT_S)
    (state,) = found
    assert state.consistent, state
    assert state.identical, state
    assert expected_pairs(runs) <= {getattr(pair, "pair_id", "") for pair in pairs_on_kafka(stack.settings)}
