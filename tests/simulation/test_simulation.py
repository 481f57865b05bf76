"""Whatever the order of events, nothing is lost or learnt twice; and each fault that there was is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from streams.messages.candidates import Found
from streams.messages.checkpoints import Recovery
from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair, RunClosed
from streams.messages.stored import StoredMessage
from streams.messages.votes import Vote
from streams.worker.effects import Send
from streams.worker.offsets import Positions
from streams.worker.pair_side import PairSide
from streams.worker.stages import TraceStep, VoteStep
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide
from tests.simulation.__main__ import fault_of, faults, first_fault
from tests.simulation.cluster import WIDE, Cluster
from tests.simulation.worker import SimWorker
from tests.simulation.writer import SimWriter
from trainers.pairs.seen import KnownPairs
from trainers.pairs.sequence import RunSequence
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.vote_processor import VoteProcessor

_FOUND_WITHIN = 500


def test_three_hundred_lives_lose_nothing_and_double_nothing() -> None:
    assert not (found := faults(300)), "\n".join(found)


@pytest.mark.parametrize("seed", [2_155, 4_997, 8_063, 46_812, 80_149])
def test_a_life_that_once_failed_loses_nothing_and_doubles_nothing(seed: int) -> None:
    assert fault_of(seed) == ""


@pytest.mark.long
def test_the_same_of_a_hundred_thousand_lives() -> None:
    assert not (found := faults(100_000)), "\n".join(found)


def test_lives_of_eight_workers_and_thirty_two_partitions_lose_nothing_and_double_nothing() -> None:
    assert not (found := faults(12, WIDE)), "\n".join(found)


@pytest.mark.long
def test_the_same_of_two_thousand_such_lives() -> None:
    assert not (found := faults(2_000, WIDE)), "\n".join(found)


def test_a_wide_life_is_lived_again_by_its_seed() -> None:
    again = [sys.executable, "-m", "tests.simulation", "wide", "10"]
    said = subprocess.run(again, capture_output=True, text=True, check=False)
    assert said.stdout == "seed 10: nothing is lost, doubled or different\n", said.stderr


def test_all_eight_have_a_share_of_the_partitions() -> None:
    cluster = Cluster(10, WIDE)
    cluster.live()
    assert cluster.most_working == 8
    assert cluster.kafka.trace_partitions >= 32


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


def a_memory_that_takes_a_revision_for_its_run(patch: pytest.MonkeyPatch) -> None:
    """So that nothing of a revision is learnt once the run is over."""
    takes = RunSequence.takes

    def of_the_run(sequence: RunSequence, message: PairMessage, nth: int, rules: bytes) -> bool:
        if isinstance(message, PreferencePair):
            message = replace(message, meta={})
        elif isinstance(message, PairsEnd):
            message = replace(message, revision=UNSET)
        return takes(sequence, message, nth, rules)

    patch.setattr(RunSequence, "takes", of_the_run)


def a_closed_run_that_a_restarted_worker_does_not_know(patch: pytest.MonkeyPatch) -> None:
    """So that an event which is sent again opens it, and holds the offset until it is given up."""

    def recall(_: TraceProcessor, __: Iterable[RunClosed]) -> None:
        return None

    patch.setattr(TraceProcessor, "recall", recall)


def a_checkpoint_that_ends_the_holds_of_other_models(patch: pytest.MonkeyPatch) -> None:
    """Whose pairs no checkpoint has."""
    saved = PairSide.saved

    def too_much(side: PairSide, assignment: int, model: str, **given: float) -> Any:
        for other in side._models.values() if assignment == side._assignment else ():
            side._release(other.held)
        return saved(side, assignment, model, **given)

    patch.setattr(PairSide, "saved", too_much)


def an_end_without_a_last_checkpoint(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PairSide, "last_words", lambda _: [])


def a_rollback_that_forgets_what_came_since(patch: pytest.MonkeyPatch) -> None:
    """So that votes which come again are learnt again."""
    patch.setattr(KnownPairs, "take_in", lambda *_: None)


def two_writers_that_are_opened_at_once(patch: pytest.MonkeyPatch) -> None:
    """Of one worker, after two rebalances: the later one may be the first to be opened."""
    patch.setattr(SimWorker, "_is_being_opened", lambda *_: False)


def an_answer_to_an_earlier_assignments_open(patch: pytest.MonkeyPatch) -> None:
    """It restores a model that goes on from something newer by then."""
    opened = PairSide.opened

    def at_any_time(side: PairSide, _: int, model: str, recovery: Recovery, now_s: float) -> Any:
        return opened(side, side._assignment, model, recovery, now_s) if model in side._models else []

    patch.setattr(PairSide, "opened", at_any_time)


def a_writer_that_opens_again_whoever_was_opened_since(patch: pytest.MonkeyPatch) -> None:
    """And writes over what its successor has published."""

    def open_again(writer: SimWriter) -> None:
        writer.open()
        writer.read()

    patch.setattr(SimWriter, "may_open_again", lambda _: True)
    patch.setattr(SimWriter, "open_again", open_again)


def a_vote_whose_hold_ends_when_it_is_formed(patch: pytest.MonkeyPatch) -> None:
    """Rather than once its pair is on Kafka."""
    send = VoteSide._send

    def too_early(side: VoteSide, done: Any) -> Any:
        for message, _ in done:
            side._positions.release(message.partition, message.offset)
        return [
            Send(side._in_flight.add([]), effect.messages)
            for effect in send(side, done)
            if isinstance(effect, Send)
        ]

    patch.setattr(VoteSide, "_send", too_early)


def a_vote_that_is_forgotten_while_its_videos_are_to_come(patch: pytest.MonkeyPatch) -> None:
    form = VoteProcessor.form

    def forgetting(votes: VoteProcessor, message: StoredMessage, vote: Vote, found: Found) -> VoteStep:
        step = form(votes, message, vote, found)
        return VoteStep() if step.missing else step

    patch.setattr(VoteProcessor, "form", forgetting)


def a_vote_that_is_learnt_whenever_it_comes(patch: pytest.MonkeyPatch) -> None:
    """Also a second time."""
    patch.setattr(RunSequence, "takes_vote", lambda *_, **__: True)


def a_vote_that_is_formed_though_it_is_taken_back_and_then_not_withdrawn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(VoteProcessor, "_withdrawal", lambda *_: ())


_FOUND_FROM: dict[Callable[[pytest.MonkeyPatch], None], int] = {
    two_writers_that_are_opened_at_once: 200,
    a_writer_that_opens_again_whoever_was_opened_since: 100,
}
"""Seeds before the first life in which a rare fault shows, so that few are lived in vain."""


@pytest.mark.parametrize(
    "fault",
    [
        a_vote_whose_hold_ends_when_it_is_formed,
        a_vote_that_is_forgotten_while_its_videos_are_to_come,
        a_vote_that_is_learnt_whenever_it_comes,
        a_vote_that_is_formed_though_it_is_taken_back_and_then_not_withdrawn,
        a_checkpoint_that_ends_the_holds_of_other_models,
        an_end_without_a_last_checkpoint,
        a_rollback_that_forgets_what_came_since,
        two_writers_that_are_opened_at_once,
        an_answer_to_an_earlier_assignments_open,
        a_writer_that_opens_again_whoever_was_opened_since,
        a_hold_that_ends_when_its_run_is_closed,
        a_dead_letter_that_is_not_waited_for,
        an_acknowledgement_that_counts_after_a_rebalance,
        a_memory_for_so_many_open_runs_and_no_more,
        a_memory_that_takes_a_revision_for_its_run,
        a_closed_run_that_a_restarted_worker_does_not_know,
    ],
)
def test_a_fault_of_old_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    start = _FOUND_FROM.get(fault, 0)
    assert first_fault(range(start, start + _FOUND_WITHIN))
