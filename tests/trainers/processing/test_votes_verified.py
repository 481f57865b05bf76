"""Votes in a replay, and whether the pairs of votes on the log are those that the votes give."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from streams.messages.codec import decode_pair, decode_snapshot, encode
from streams.messages.contracts import Message, PreferencePair
from streams.messages.stored import StoredMessage
from streams.messages.votes import Vote
from tests.factories import run
from tests.states import held
from tests.trainers.pairs.test_votes import vote
from tests.trainers.processing.test_verify import RULES, on_trace
from trainers.processing.pair_processor import PairProcessor
from trainers.processing.replay import as_messages, form_again, learn_again
from trainers.processing.verify import StateReport, verify_state

TRACE: list[Message] = [*run([0.1, 0.9, 0.5, 0.4]), *run([0.2, 0.4, 0.8, 0.3], run_id="run-b")]
VOTES = [
    vote(annotator="ann"),
    vote(vote_id="v2", right_run_id="run-a", answer="tie"),
    vote(vote_id="v3", answer="right", annotator="bob"),
    vote(vote_id="v4", answer=None, takes_back="v3", annotator="bob"),
    vote(vote_id="v5", left_run_id="run-that-never-came"),
    vote(vote_id="v6", answer="cannot_tell"),
]


def on_pairs(votes: Sequence[Vote] = VOTES) -> list[StoredMessage]:
    return list(form_again(on_trace(TRACE), RULES, "pairs", votes=as_messages(votes, "votes")))


def verified(
    pairs: Sequence[StoredMessage], *, committed: int = len(VOTES), votes: Sequence[Vote] = VOTES
) -> StateReport:
    learner = PairProcessor("default", snapshots_topic="snapshots", dead_letters_topic="dead")
    learner.on_messages(pairs)
    (report,) = verify_state(
        on_trace(TRACE),
        pairs,
        {"default": held(decode_snapshot(learner.snapshot(), "test"))},
        RULES,
        pairs_topic="pairs",
        votes=as_messages(votes, "votes"),
        votes_committed=committed,
    )
    return report


def of_votes(pairs: Sequence[StoredMessage]) -> list[PreferencePair]:
    decoded = [decode_pair(message.value, message) for message in pairs if message.vote]
    return [pair for pair in decoded if isinstance(pair, PreferencePair)]


def moved(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    """At offsets one after the other."""
    return [replace(message, offset=offset) for offset, message in enumerate(messages)]


def withdrawn(message: StoredMessage) -> StoredMessage:
    pair = decode_pair(message.value, message)
    assert isinstance(pair, PreferencePair)
    return replace(message, value=encode(replace(pair, withdrawn=True)))


def test_a_replay_has_the_pairs_of_all_votes_that_stand_behind_those_of_the_runs() -> None:
    pairs = on_pairs()
    assert [pair.meta["vote_id"] for pair in of_votes(pairs[-2:])] == ["v1", "v2"]
    assert len(of_votes(pairs)) == 2
    assert pairs[:-2] == list(form_again(on_trace(TRACE), RULES, "pairs"))
    learnt = learn_again(pairs, RULES, "pairs")["default"]
    assert decode_snapshot(learnt.snapshot, "test").labels["human"] == 2


def test_what_the_votes_give_is_settled() -> None:
    report = verified(on_pairs())
    assert report.settled
    assert report.from_elsewhere == 0


def test_a_vote_that_was_formed_and_taken_back_since_is_settled() -> None:
    before = on_pairs(VOTES[:3])
    pairs = moved([*before, withdrawn(before[-1])])
    report = verified(pairs)
    assert report.settled
    assert report.learnt == report.recorded == report.pairs - 1


def test_a_withdrawal_that_is_not_there_is_missing() -> None:
    report = verified(on_pairs(VOTES[:3]))
    assert not report.consistent
    assert report.missing[0].startswith("withdrawal of ")


def test_a_vote_that_a_trainer_has_committed_and_not_formed_is_missing() -> None:
    report = verified(on_pairs()[:-1])
    assert not report.consistent
    assert len(report.missing) == 1


def test_a_vote_that_no_trainer_has_committed_is_only_to_come() -> None:
    report = verified(on_pairs(VOTES[:1]), committed=1)
    assert report.consistent
    assert not report.settled
    assert report.votes_to_come == 1


@pytest.mark.parametrize("answer", ["right", "tie"])
def test_a_pair_that_says_otherwise_than_its_vote_is_unexplained(answer: str) -> None:
    forged = on_pairs([replace(VOTES[0], answer=answer), *VOTES[1:]])
    report = verified(forged)
    assert not report.consistent
    assert len(report.unexplained) == 1


def test_a_pair_of_a_vote_that_is_not_on_its_topic_is_from_elsewhere() -> None:
    report = verified(on_pairs(), votes=VOTES[1:], committed=len(VOTES) - 1)
    assert report.consistent
    assert report.from_elsewhere == 1
