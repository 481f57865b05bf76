"""Finds votes, and the candidates they compare, among the messages of the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streams.messages.codec import ContractError, decode_trace, decode_vote
from streams.messages.contracts import TraceEvent
from streams.messages.stored import StoredMessage
from streams.messages.votes import Vote

Place = tuple[str, int]
"""A candidate: run and iteration."""
_Rank = tuple[int, int, int, int]
"""A sort key; the lowest counts. See ``Search``."""


@dataclass(frozen=True, slots=True)
class Found:
    """The candidates and votes of a search that the log contains."""

    candidates: Mapping[Place, TraceEvent] = field(default_factory=dict)
    votes: Mapping[str, Vote] = field(default_factory=dict)
    """Vote id to the first vote with this id."""
    taken_back: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Vote id to the annotators who retract it."""


class Search:
    """Looks for candidates and votes among messages of the log, which may come in any order and repeatedly.

    If an iteration occurs several times, the highest revision (``meta.revision``, written by a later scoring)
    counts, and within it the first by the broker's time.
    """

    def __init__(self, candidates: Iterable[Place], votes: Iterable[str] = ()) -> None:
        self._candidates = set(candidates)
        self._votes = set(votes)
        self._events: dict[Place, tuple[_Rank, TraceEvent]] = {}
        self._first_votes: dict[str, tuple[_Rank, Vote]] = {}
        self._taken_back: dict[str, set[str]] = {}

    @property
    def runs(self) -> frozenset[str]:
        """The runs of the wanted candidates."""
        return frozenset(run_id for run_id, _ in self._candidates)

    def add_vote(self, message: StoredMessage) -> None:
        """Add a message of the votes topic; a wanted vote makes its candidates wanted, too."""
        try:
            vote = decode_vote(message.value, message)
        except ContractError:
            return
        if vote.takes_back in self._votes:
            self._taken_back.setdefault(vote.takes_back, set()).add(vote.annotator)
        if vote.vote_id in self._votes:
            rank, known = _rank(message, 0), self._first_votes.get(vote.vote_id)
            if known is None or rank < known[0]:
                self._first_votes[vote.vote_id] = rank, vote
            self._candidates.update((vote.left, vote.right))

    def add_event(self, message: StoredMessage, event: object = None) -> None:
        """Add a message of the trace topic; ``event`` is the decoded message, if the caller has it."""
        if event is None:
            try:
                event = decode_trace(message.value, message)
            except ContractError:
                return
        if not isinstance(event, TraceEvent):
            return
        place = event.run_id, event.iter_idx
        if place in self._candidates:
            rank, known = _rank(message, event.revision), self._events.get(place)
            if known is None or rank < known[0]:
                self._events[place] = rank, event

    def found(self) -> Found:
        """The result so far."""
        return Found(
            {place: event for place, (_, event) in self._events.items()},
            {vote_id: vote for vote_id, (_, vote) in self._first_votes.items()},
            {vote_id: frozenset(by) for vote_id, by in self._taken_back.items()},
        )


def _rank(message: StoredMessage, revision: int) -> _Rank:
    return -revision, message.timestamp_ms, message.partition, message.offset
