"""What people say of videos of the simulated runs, and what must have become of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import get_args

from streams.errors import BadInput
from streams.messages.candidates import Found, Place, Search
from streams.messages.codec import ContractError, decode_pair, decode_trace, decode_vote
from streams.messages.contracts import PreferencePair, TraceEvent
from streams.messages.stored import StoredMessage
from streams.messages.votes import RANDOM_RULE, Answer, Vote
from tests.simulation.kafka import DEAD, PAIRS, TRACE, VOTES, SimKafka
from trainers.pairs.pairing import PairingRules
from trainers.pairs.votes import pair_id_of, pair_of_vote

_GHOST = "run-of-nobody"
"""Whose events never come."""


def draw_vote(rng: random.Random, number: int, runs: Sequence[str], given: Sequence[Vote]) -> Vote:
    """A vote on runs of which events may have come, or are still to come, or never do."""
    earlier = rng.choice(given) if given and rng.random() < 0.3 else None
    left, right = _two(rng, runs)
    annotator = rng.choice(("", "ann", "bob"))
    if earlier is not None and rng.random() < 0.8:
        annotator = earlier.annotator
    return Vote(
        vote_id=f"vote-{number}",
        left_run_id=left[0],
        left_iter_idx=left[1],
        right_run_id=right[0],
        right_iter_idx=right[1],
        answer=None if earlier is not None and rng.random() < 0.5 else rng.choice(get_args(Answer)),
        takes_back=_taken_back(rng, earlier),
        dimension=rng.choice(("", "", "physics")),
        annotator=annotator,
        rule=rng.choice(("", RANDOM_RULE, "variance")),
    )


def _two(rng: random.Random, runs: Sequence[str]) -> tuple[Place, Place]:
    one = rng.choice(runs)
    other = one if rng.random() < 0.6 else rng.choice((*runs, _GHOST))
    places = [(run_id, rng.randrange(4)) for run_id in (one, other)]
    if places[0] == places[1]:
        places[1] = other, places[1][1] + 1
    return places[0], places[1]


def _taken_back(rng: random.Random, earlier: Vote | None) -> str:
    if earlier is None:
        return ""
    return earlier.vote_id if rng.random() < 0.9 else "vote-of-nobody"


@dataclass(slots=True)
class VotesOnTopic:
    """The pairs of votes as a learner may take them, each once: a pair that stands behind its own withdrawal
    is too late."""

    pairs: set[str] = field(default_factory=set)
    """Ids of pairs."""
    withdrawn: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    """Those of them whose pair was taken before."""

    def takes(self, message: StoredMessage, pair: PreferencePair) -> bool:
        name = pair.pair_id
        if pair.withdrawn is True:
            if name in self.withdrawn:
                return False
            self.withdrawn.add(name)
            if name in self.pairs:
                self.undone.add(name)
            return True
        if name in self.pairs or name in self.withdrawn:
            return False
        self.pairs.add(name)
        return True


def check_votes(kafka: SimKafka, rules: PairingRules) -> None:
    """Each vote is a pair, or a dead letter, or was taken back, as the whole log says."""
    votes = _first_votes(kafka.all_of(VOTES))
    search = Search((), [name for vote in votes.values() for name in (vote.vote_id, vote.takes_back) if name])
    for message in kafka.all_of(VOTES):
        search.add_vote(message)
    versions: dict[Place, list[TraceEvent]] = {}
    for message in kafka.all_of(TRACE):
        event = _event(message)
        search.add_event(message, event)
        if event is not None:
            versions.setdefault((event.run_id, event.iter_idx), []).append(event)
    found = search.found()
    letters = {message.value for message in kafka.all_of(DEAD)}
    on_topic = VotesOnTopic()
    for message in kafka.all_of(PAIRS):
        if message.vote is not None:
            pair = decode_pair(message.value, message)
            assert isinstance(pair, PreferencePair)
            on_topic.takes(message, pair)
    for vote, raw in ((vote, raw) for raw, vote in _with_bytes(kafka.all_of(VOTES), votes)):
        _check_vote(vote, raw in letters, found, rules, on_topic, versions)
    known = {pair_id_of(vote_id) for vote_id in votes}
    assert on_topic.pairs <= known, "a pair of a vote that nobody gave"


def _check_vote(
    vote: Vote,
    is_letter: bool,
    found: Found,
    rules: PairingRules,
    on_topic: VotesOnTopic,
    versions: Mapping[Place, Sequence[TraceEvent]],
) -> None:
    of_vote = pair_id_of(vote.vote_id)
    is_taken_back = vote.annotator in found.taken_back.get(vote.vote_id, ())
    if vote.takes_back:
        earlier = found.votes.get(vote.takes_back)
        if earlier is None or earlier.annotator != vote.annotator:
            assert is_letter, f"{vote.vote_id} takes back what it may not, and is no dead letter"
            assert of_vote not in on_topic.pairs
            return
        of_earlier = pair_id_of(earlier.vote_id)
        assert of_earlier not in on_topic.pairs or of_earlier in on_topic.withdrawn, (
            f"{earlier.vote_id} is taken back, and its pair stands"
        )
    if not vote.gives_a_pair or is_taken_back:
        return
    if _pair(vote, found, rules) is None:
        # A rescoring may have left the two without a critic in common, after the vote was used.
        assert is_letter or of_vote in on_topic.pairs, f"{vote.vote_id} cannot be used, and is no dead letter"
        assert of_vote not in on_topic.pairs or _could_be_used(vote, rules, versions), (
            f"{vote.vote_id} could never be used, and has a pair"
        )
    else:
        assert of_vote in on_topic.pairs, f"{vote.vote_id} is lost"
        assert of_vote not in on_topic.withdrawn, f"{vote.vote_id} is withdrawn, and nobody took it back"


def _pair(vote: Vote, found: Found, rules: PairingRules) -> PreferencePair | None:
    left, right = found.candidates.get(vote.left), found.candidates.get(vote.right)
    return None if left is None or right is None else _pair_of(vote, left, right, rules)


def _could_be_used(vote: Vote, rules: PairingRules, versions: Mapping[Place, Sequence[TraceEvent]]) -> bool:
    """Whether some revisions of its candidates, on the log at some time, give a pair."""
    of_both = product(versions.get(vote.left, ()), versions.get(vote.right, ()))
    return any(_pair_of(vote, left, right, rules) is not None for left, right in of_both)


def _pair_of(vote: Vote, left: TraceEvent, right: TraceEvent, rules: PairingRules) -> PreferencePair | None:
    try:
        return pair_of_vote(vote, left, right, rules)
    except BadInput:
        return None


def _event(message: StoredMessage) -> TraceEvent | None:
    try:
        event = decode_trace(message.value, message)
    except ContractError:
        return None
    return event if isinstance(event, TraceEvent) else None


def _first_votes(messages: Iterable[StoredMessage]) -> dict[str, Vote]:
    votes: dict[str, Vote] = {}
    for message in messages:
        if not message.value.startswith(b"bad"):
            vote = decode_vote(message.value, message)
            votes.setdefault(vote.vote_id, vote)
    return votes


def _with_bytes(messages: Iterable[StoredMessage], votes: dict[str, Vote]) -> Iterable[tuple[bytes, Vote]]:
    seen: set[str] = set()
    for message in messages:
        name = (message.key or b"").decode()
        if name in votes and name not in seen:
            seen.add(name)
            yield message.value, votes[name]
