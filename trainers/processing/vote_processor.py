"""Messages of the votes topic in, messages of the pairs topic out: bytes on both sides.

The worker, the offline replay and the tests call this; it knows nothing of Kafka clients, clocks or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from streams.errors import BadInput
from streams.messages.candidates import Found, Search
from streams.messages.codec import ContractError, decode_vote, encode
from streams.messages.contracts import PreferencePair
from streams.messages.stored import Outgoing, StoredMessage, vote_headers
from streams.messages.votes import Vote
from streams.worker.stages import VoteStep
from trainers.pairs.former import NotUsable
from trainers.pairs.pairing import PairingRules
from trainers.pairs.seen import remember
from trainers.pairs.votes import pair_of_vote, withdrawal_of_vote
from trainers.processing.unusable import NO_FAULT_OF_A_MESSAGE, letter_for

REMEMBERED_VOTES = 100_000
"""Number of votes whose pairs were formed and are not formed again when the votes come again. Learners also
recognise repetitions (``RunSequence``); this saves them most."""


class VoteProcessor:
    """Turns values of the votes topic into messages of the pairs topic, keyed by the reward model's name.

    The first vote with an id counts. A vote that its annotator takes back is no longer formed. If its pair
    was already formed, or may have been before a restart, the pair is withdrawn; a learner that has not
    learnt it ignores that. Taking back a vote cannot itself be taken back.
    """

    def __init__(self, rules: PairingRules, *, pairs_topic: str, dead_letters_topic: str) -> None:
        self._rules = rules
        self._pairs_topic = pairs_topic
        self._dead_letters_topic = dead_letters_topic
        self._formed: dict[str, None] = {}
        self.pairs_formed = 0
        """Number of pairs formed since the start, including withdrawals."""

    def read(self, message: StoredMessage) -> Vote | Outgoing | None:
        """The decoded message, or a dead letter; None for a vote without effect."""
        try:
            vote = decode_vote(message.value, message)
        except NO_FAULT_OF_A_MESSAGE:
            raise
        except Exception as error:
            return letter_for(message, error, self._dead_letters_topic)
        return vote if vote.gives_a_pair or vote.takes_back else None

    def form(self, message: StoredMessage, vote: Vote, found: Found) -> VoteStep:
        """The result of a vote, or what it still waits for. ``found`` is what was looked up for it.

        A vote that raises becomes a dead letter. What it takes back is taken back nevertheless.
        """
        if vote.vote_id in self._formed:
            return VoteStep()
        outgoing: list[Outgoing] = []
        missing = list(_missing(vote, found))
        try:
            if vote.takes_back in found.votes:
                outgoing += self._withdrawal(vote, found)
            if _counts(vote, found) and not missing:
                outgoing.append(self._pair(vote, found))
        except NO_FAULT_OF_A_MESSAGE:
            raise
        except Exception as error:
            outgoing.append(letter_for(message, error, self._dead_letters_topic))
            return VoteStep(tuple(outgoing))
        if missing:
            return VoteStep(tuple(outgoing), missing)
        self.pairs_formed += len(outgoing)
        remember(self._formed, vote.vote_id, None, REMEMBERED_VOTES)
        return VoteStep(tuple(outgoing))

    def give_up(self, message: StoredMessage, why: str) -> Outgoing:
        """The dead letter of a vote that cannot be used."""
        return letter_for(message, NotUsable(f"{message.source}: {why}"), self._dead_letters_topic)

    def forget(self) -> None:
        """Forget the votes whose pairs were formed: the partition was revoked."""
        self._formed.clear()

    def _pair(self, vote: Vote, found: Found) -> Outgoing:
        left, right = found.candidates[vote.left], found.candidates[vote.right]
        return self._outgoing(pair_of_vote(vote, left, right, self._rules), vote.vote_id)

    def _withdrawal(self, vote: Vote, found: Found) -> Iterator[Outgoing]:
        """The withdrawal of the pair of the vote that this one takes back; nothing if there can be none.

        Raises NotUsable if the vote belongs to another annotator.
        """
        earlier = found.votes[vote.takes_back]
        if earlier.annotator != vote.annotator:
            raise NotUsable(
                f"takes back vote {vote.takes_back!r} of annotator {earlier.annotator!r}, and is of "
                f"{vote.annotator!r}; a vote is taken back by whoever gave it"
            )
        left, right = found.candidates.get(earlier.left), found.candidates.get(earlier.right)
        # The log only grows: if the candidates have not come, no pair was formed, and none ever will be.
        if earlier.gives_a_pair and left is not None and right is not None:
            with suppress(BadInput):
                withdrawal = withdrawal_of_vote(earlier, left, right, self._rules)
                yield self._outgoing(withdrawal, earlier.vote_id)

    def _outgoing(self, pair: PreferencePair, vote_id: str) -> Outgoing:
        # The contexts of two runs together may exceed a pair's limits, so everything is checked.
        return Outgoing(self._pairs_topic, pair.model.encode(), encode(pair), vote_headers(vote_id))


def search_for(votes: Iterable[StoredMessage]) -> Search:
    """A search that has read these votes, for everything that they refer to."""
    votes = list(votes)
    names: set[str] = set()
    for message in votes:
        with suppress(ContractError):
            vote = decode_vote(message.value, message)
            names |= {vote.vote_id, vote.takes_back} - {""}
    search = Search((), names)
    for message in votes:
        search.add_vote(message)
    return search


def pairs_of_votes(
    votes: Iterable[StoredMessage], found: Found, rules: PairingRules, pairs_topic: str
) -> Iterator[tuple[StoredMessage, Outgoing]]:
    """Each vote of a whole log that gives a pair, with the message of that pair.

    Withdrawn votes give none, so nothing has to be withdrawn.
    """
    processor = VoteProcessor(rules, pairs_topic=pairs_topic, dead_letters_topic="")
    for message in votes:
        vote = processor.read(message)
        if isinstance(vote, Vote):
            for outgoing in processor.form(message, vote, found).outgoing:
                own = outgoing.headers == vote_headers(vote.vote_id)
                if outgoing.topic == pairs_topic and own:
                    yield message, outgoing


def _counts(vote: Vote, found: Found) -> bool:
    """Whether the vote gives a pair, and was not taken back by its annotator."""
    return vote.gives_a_pair and vote.annotator not in found.taken_back.get(vote.vote_id, ())


def _missing(vote: Vote, found: Found) -> Iterator[str]:
    if vote.takes_back and vote.takes_back not in found.votes:
        yield f"vote {vote.takes_back!r}, which it takes back,"
    if _counts(vote, found):
        for run_id, iter_idx in (vote.left, vote.right):
            if (run_id, iter_idx) not in found.candidates:
                yield f"iteration {iter_idx} of run {run_id!r}"
