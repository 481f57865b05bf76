"""Whatever the order of events, nothing is lost or learnt twice; and each fault that there was is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from streams.messages.contracts import PairMessage, RunClosed
from streams.worker.offsets import Positions
from streams.worker.stages import TraceStep
from streams.worker.trace_side import TraceSide
from tests.simulation.__main__ import faults, first_fault
from trainers.sequence import RunSequence
from trainers.trace_processor import TraceProcessor

_FOUND_WITHIN = 500


def test_two_thousand_lives_lose_nothing_and_double_nothing() -> None:
    assert faults(2_000) == []


@pytest.mark.long
def test_the_same_of_a_hundred_thousand_lives() -> None:
    assert faults(100_000) == []


def a_hold_that_ends_when_its_run_is_closed(patch: pytest.MonkeyPatch) -> None:
    """Rather than once the pairs, the end and the mark are on Kafka."""
    end_of_hold = TraceSide._end_of_hold

    def too_early(side: TraceSide, step: TraceStep) -> list[Callable[[], None]]:
        for release in end_of_hold(side, step):
            release()
        return [lambda: None]

    patch.setattr(TraceSide, "_end_of_hold", too_early)


def a_dead_letter_that_is_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Of a message, and of a run that is given up."""
    send = TraceSide._send

    def at_once(side: TraceSide, outgoing: Any, then: Any) -> Any:
        if outgoing and outgoing[0].topic == "dead":
            for consequence in then:
                consequence()
            then = []
        return send(side, outgoing, then)

    patch.setattr(TraceSide, "_send", at_once)


def an_acknowledgement_that_counts_after_a_rebalance(patch: pytest.MonkeyPatch) -> None:
    """A worker that gets a partition back goes on as if it had read all that it had read before."""
    patch.setattr(Positions, "clear", lambda _: None)


def a_memory_for_so_many_open_runs_and_no_more(patch: pytest.MonkeyPatch) -> None:
    """Which forgets how far it has come in the run that began first."""
    takes = RunSequence.takes

    def forgetting(sequence: RunSequence, message: PairMessage, nth: int, rules: bytes) -> bool:
        taken = takes(sequence, message, nth, rules)
        while len(sequence._next) > 3:
            del sequence._next[next(iter(sequence._next))]
        return taken

    patch.setattr(RunSequence, "takes", forgetting)


def a_closed_run_that_a_restarted_worker_does_not_know(patch: pytest.MonkeyPatch) -> None:
    """So that an event which is sent again opens it, and holds the offset until it is given up."""

    def recall(_: TraceProcessor, __: Iterable[RunClosed]) -> None:
        return None

    patch.setattr(TraceProcessor, "recall", recall)


@pytest.mark.parametrize(
    "fault",
    [
        a_hold_that_ends_when_its_run_is_closed,
        a_dead_letter_that_is_not_waited_for,
        an_acknowledgement_that_counts_after_a_rebalance,
        a_memory_for_so_many_open_runs_and_no_more,
        a_closed_run_that_a_restarted_worker_does_not_know,
    ],
)
def test_a_fault_of_old_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert first_fault(range(_FOUND_WITHIN))
