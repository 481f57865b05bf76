"""The votes that are on their topic, and which of them stand."""

from __future__ import annotations

import threading

from streams.messages.votes import Vote

Candidate = tuple[str, int]
"""Run and iteration."""
Pair = frozenset[Candidate]
ANSWERS = ("left", "right", "tie", "both_bad", "cannot_tell")


class Ballots:
    """Votes by id, each once; for any number of threads. ``version`` grows with every vote."""

    def __init__(self) -> None:
        self.version = 0
        self._lock = threading.Lock()
        self._votes: dict[str, Vote] = {}

    def take(self, vote: Vote) -> bool:
        """Whether it was new; the first of two with one id counts."""
        with self._lock:
            if vote.vote_id in self._votes:
                return False
            self._votes[vote.vote_id] = vote
            self.version += 1
            return True

    def get(self, vote_id: str) -> Vote | None:
        with self._lock:
            return self._votes.get(vote_id)

    def standing(self, dimension: str | None = None) -> list[Vote]:
        """Votes with an answer that their annotator has not taken back, in the order of their times.

        Partitions of the topic come interleaved; votes without a time come first.
        """
        with self._lock:
            votes = sorted(self._votes.values(), key=lambda vote: vote.voted_at)
        gone = {(vote.takes_back, vote.annotator) for vote in votes if vote.takes_back}
        return [
            vote
            for vote in votes
            if vote.answer is not None
            and (vote.vote_id, vote.annotator) not in gone
            and (dimension is None or vote.dimension == dimension)
        ]


def pair_of(vote: Vote) -> Pair:
    return frozenset((vote.left, vote.right))


def preferred(vote: Vote) -> Candidate | str:
    """What a vote says whichever side was which: the better candidate, else the answer itself."""
    if vote.answer == "left":
        return vote.left
    if vote.answer == "right":
        return vote.right
    return vote.answer or ""
