"""What becomes of a vote, by what the log has of it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from streams.messages.candidates import Found, Search
from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import PreferencePair, TraceEvent
from streams.messages.stored import Outgoing, StoredMessage
from streams.messages.votes import Vote
from streams.worker.stages import VoteStep
from tests.factories import event
from tests.trainers.pairs.test_votes import vote
from trainers.pairs.pairing import PairingRules
from trainers.processing.vote_processor import VoteProcessor


def processor() -> VoteProcessor:
    return VoteProcessor(PairingRules(), pairs_topic="pairs", dead_letters_topic="dead")


def stored(message: Vote | TraceEvent, offset: int = 0, topic: str = "votes") -> StoredMessage:
    return StoredMessage(
        topic=topic, partition=0, offset=offset, timestamp_ms=offset, key=None, value=encode(message)
    )


def looked_up(votes: list[Vote], *extra: TraceEvent) -> Found:
    """All of it, with the candidates of ``vote()``."""
    names = [name for one in votes for name in (one.vote_id, one.takes_back) if name]
    search = Search([place for one in votes for place in (one.left, one.right)], names)
    for offset, one in enumerate(votes):
        search.add_vote(stored(one, offset))
    for offset, each in enumerate((event(0, 0.4, run_id="run-a"), event(3, 0.6, run_id="run-b"), *extra)):
        search.add_event(stored(each, offset, "trace"))
    return search.found()


def formed(step: VoteStep) -> list[tuple[str, str, bool]]:
    """Topic, id of the vote and whether it is withdrawn, of each message."""
    said = []
    for outgoing in step.outgoing:
        if outgoing.topic == "dead":
            said.append(("dead", dict(outgoing.headers)["reason"].decode(), False))
            continue
        pair = decode_pair(outgoing.value, "here")
        assert isinstance(pair, PreferencePair)
        said.append((outgoing.topic, dict(outgoing.headers)["vote"].decode(), pair.withdrawn is True))
    return said


def form(one: VoteProcessor, given: Vote, found: Found) -> list[tuple[str, str, bool]]:
    return formed(one.form(stored(given), given, found))


def test_a_vote_gives_its_pair_once() -> None:
    one, found = processor(), looked_up([vote()])
    assert form(one, vote(), found) == [("pairs", "v1", False)]
    assert form(one, vote(), found) == []


def test_a_vote_whose_candidates_have_not_come_says_which() -> None:
    step = processor().form(stored(vote()), vote(), Found())
    assert step == VoteStep(missing=["iteration 0 of run 'run-a'", "iteration 3 of run 'run-b'"])


def test_what_is_no_vote_is_a_dead_letter_and_who_cannot_tell_gives_nothing() -> None:
    bad = StoredMessage(topic="votes", partition=0, offset=0, timestamp_ms=0, key=None, value=b"{}")
    letter = processor().read(bad)
    assert isinstance(letter, Outgoing)
    assert letter.topic == "dead"
    assert processor().read(stored(vote(answer="cannot_tell"))) is None


def undo(**changes: Any) -> Vote:
    return vote(vote_id="v2", takes_back="v1", answer=None, **changes)


def test_a_vote_that_is_taken_back_before_it_is_formed_is_never_formed() -> None:
    one, found = processor(), looked_up([vote(), undo()])
    assert form(one, vote(), found) == []


def test_a_vote_that_was_formed_is_withdrawn_and_its_successor_counts_in_its_place() -> None:
    one = processor()
    form(one, vote(), looked_up([vote()]))
    better = replace(undo(), answer="right")
    assert form(one, better, looked_up([vote(), better])) == [("pairs", "v1", True), ("pairs", "v2", False)]


def test_a_vote_of_somebody_else_is_not_taken_back() -> None:
    one, thief = processor(), undo(annotator="eve")
    found = looked_up([vote(annotator="ann"), thief])
    assert form(one, vote(annotator="ann"), found) == [("pairs", "v1", False)]
    ((topic, reason, _),) = form(one, thief, found)
    assert topic == "dead"
    assert "takes back vote 'v1' of annotator 'ann', and is of 'eve'" in reason


def test_a_pair_of_which_a_rescoring_has_left_nothing_to_learn_is_withdrawn_nevertheless() -> None:
    earlier = vote(left_iter_idx=3)
    both = {place: event(3, None, run_id=place[0], critics={}) for place in (earlier.left, earlier.right)}
    found = Found(both, {"v1": earlier}, {"v1": frozenset({""})})
    assert form(processor(), undo(left_iter_idx=3), found) == [("pairs", "v1", True)]


def test_a_vote_that_cannot_be_used_itself_takes_back_an_earlier_one_nevertheless() -> None:
    useless = vote(vote_id="v2", takes_back="v1", right_run_id="run-c")
    right = event(3, 0.6, run_id="run-c")
    of_another_task = replace(right, meta=right.meta | {"task_id": "another"})
    withdrawal, letter = form(processor(), useless, looked_up([vote(), useless], of_another_task))
    assert withdrawal == ("pairs", "v1", True)
    assert letter[0] == "dead"


def test_a_vote_that_is_given_up_takes_back_an_earlier_one_nevertheless() -> None:
    waiting = vote(vote_id="v2", takes_back="v1", left_run_id="run-that-never-came")
    step = processor().form(stored(waiting), waiting, looked_up([vote(), waiting]))
    assert step.missing == ["iteration 0 of run 'run-that-never-came'"]
    assert formed(step) == [("pairs", "v1", True)]


def test_what_takes_back_a_vote_waits_until_that_has_come() -> None:
    found = looked_up([undo()])
    assert processor().form(stored(undo()), undo(), found).missing == ["vote 'v1', which it takes back,"]


def test_to_take_back_what_gave_no_pair_withdraws_nothing() -> None:
    for earlier in (vote(answer="cannot_tell"), vote(left_run_id="run-that-never-came")):
        assert form(processor(), undo(), looked_up([earlier, undo()])) == []


def test_more_contexts_than_a_pair_may_have_are_a_dead_letter() -> None:
    many = {f"{n}": "x" for n in range(100)}
    left = event(0, 0.4, run_id="run-a", context=many)
    right = event(3, 0.6, run_id="run-b", context={"other": "x"})
    left = replace(left, meta=left.meta | {"candidate_context": {f"own-{n}": "x" for n in range(100)}})
    found = Found({("run-a", 0): left, ("run-b", 3): right}, {"v1": vote()})
    ((topic, reason, _),) = form(processor(), vote(), found)
    assert topic == "dead"
    assert "chosen_context" in reason


def test_of_an_iteration_the_first_event_counts_unless_a_later_one_is_of_a_higher_revision() -> None:
    def revised(score: float, revision: int) -> TraceEvent:
        made = event(0, score, run_id="run-a")
        return replace(made, meta=made.meta | {"revision": revision})

    def score_of(*events: TraceEvent) -> float | None:
        search = Search([("run-a", 0)])
        for offset, each in reversed(list(enumerate(events))):
            search.add_event(stored(each, offset, "trace"))
        return search.found().candidates["run-a", 0].overall_score

    first = event(0, 0.1, run_id="run-a")
    assert score_of(first, event(0, 0.2, run_id="run-a")) == 0.1
    assert score_of(first, revised(0.3, 1), revised(0.4, 2), revised(0.5, 2)) == 0.4
