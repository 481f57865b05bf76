"""The votes on the votes topic, and which of them count."""

from __future__ import annotations

import threading

from streams.messages.votes import Vote, standing

Candidate = tuple[str, int]
"""Run and iteration."""
Pair = frozenset[Candidate]
ANSWERS = ("left", "right", "tie", "both_bad", "cannot_tell")


class Ballots:
    """Votes by id, each once; thread-safe. ``version`` grows with every vote."""

    def __init__(self) -> None:
        self.version = 0
        self._lock = threading.Lock()
        self._votes: dict[str, Vote] = {}

    def take(self, vote: Vote) -> bool:
        """Add a vote; returns whether it was new. The first vote with an id counts."""
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
        """Votes with an answer that their annotator has not retracted, by time; those without a time
        first."""
        with self._lock:
            votes = sorted(self._votes.values(), key=lambda vote: vote.voted_at)
        return [vote for vote in standing(votes) if dimension is None or vote.dimension == dimension]


def pair_of(vote: Vote) -> Pair:
    return frozenset((vote.left, vote.right))


def preferred(vote: Vote) -> Candidate | str:
    """The vote's statement regardless of sides: the better candidate, or else the answer itself."""
    if vote.answer == "left":
        return vote.left
    if vote.answer == "right":
        return vote.right
    return vote.answer or ""
