"""The votes topic's state machine: votes become pairs, even if their candidates arrive late. Pure.

A vote names two candidates, which are looked up on the trace topic. It waits until both have arrived, and
holds its offset, so the partition's owner after a crash reads it again. Other votes overtake it. The hold
ends once the vote's result is on Kafka. A vote whose candidates do not arrive in time becomes a dead letter.

After a revocation, answers to earlier effects have no effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

from streams.messages.candidates import Found
from streams.messages.stored import Outgoing, StoredMessage
from streams.messages.votes import Vote
from streams.worker.effects import Effect, Lookup, Send
from streams.worker.offsets import InFlight, Positions
from streams.worker.stages import VoteStage, first_of_each

MOST_WAITING_BYTES = 16 << 20
"""Limit per worker for votes whose candidates have not arrived."""
_WAITING_BYTES = 2_048
"""Memory that such a vote takes in addition to its bytes."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
"""Pause between two lookups of a vote; it doubles each time."""
_MOST_ASKED = 500
"""Most votes per lookup; their events are in memory together."""
_LOOKS = 20
"""Minimum number of lookups before a vote is given up."""
_ANSWER_S = 30.0
"""Most seconds of a lookup that count as waiting; beyond them the broker may have been down."""


@dataclass(slots=True, eq=False)
class _Waiting:
    message: StoredMessage
    vote: Vote
    missing: Sequence[str] = ()
    """What the last lookup did not find; empty before the first."""
    waited_s: float = 0.0
    pause_s: float = 0.0
    """Time between the last lookup and the next."""
    looked_s: float = 0.0
    """When it was last looked up."""

    @property
    def size(self) -> int:
        return len(self.message.value) + _WAITING_BYTES

    @property
    def due_s(self) -> float:
        return self.looked_s + self.pause_s

    def __lt__(self, other: _Waiting) -> bool:
        return (self.due_s, self.message.offset) < (other.due_s, other.message.offset)


class VoteSide:
    """Decides what is held, looked up, sent and committed for the votes topic."""

    def __init__(
        self, stage: VoteStage, timeout_s: float, most_waiting_bytes: int = MOST_WAITING_BYTES
    ) -> None:
        """A vote is given up after ``timeout_s`` seconds of unsuccessful lookups."""
        self._stage = stage
        self._timeout_s = timeout_s
        self._most_waiting_bytes = most_waiting_bytes
        self._longest_pause_s = min(_LONGEST_PAUSE_S, timeout_s / _LOOKS)
        self._assignment = 0
        self._positions = Positions()
        self._in_flight = InFlight()
        self.votes_read = 0
        """Number of votes read since the start, each counted once per assignment."""
        self._new: deque[_Waiting] = deque()
        """Votes not looked up yet."""
        self._new_bytes = 0
        """Size in bytes of the votes in ``_new``, and of the new ones in ``_asked``."""
        self._asked: list[_Waiting] = []
        """Votes in the lookup under way."""
        self._missing: list[_Waiting] = []
        """A heap of the votes whose candidates were missing at their last lookup."""
        self._missing_bytes = 0

    @property
    def positions(self) -> Positions:
        """How far was read, and what may be committed."""
        return self._positions

    @property
    def waiting_bytes(self) -> int:
        """Size of the votes not looked up yet. Votes with missing candidates hold up no others."""
        return self._new_bytes

    @property
    def first_waiting(self) -> dict[int, StoredMessage]:
        """Partition to the first vote not looked up yet."""
        asked = [waiting for waiting in self._asked if not waiting.missing]
        return first_of_each(waiting.message for waiting in (*asked, *self._new))

    @property
    def missing_bytes(self) -> int:
        """Size of the votes whose candidates are missing."""
        return self._missing_bytes

    def assigned(self, assignment: int) -> list[Effect]:
        """This worker owns the votes now, from the group's committed offset on."""
        self._assignment = assignment
        return []

    def revoked(self) -> None:
        """Another worker owns the votes, or they will be reassigned; they are read again from the commit."""
        self._assignment = 0
        self._positions.clear()
        self._in_flight.clear()
        self._new.clear()
        self._asked.clear()
        self._missing.clear()
        self._new_bytes = self._missing_bytes = 0
        self._stage.forget()

    def read(self, assignment: int, messages: Sequence[StoredMessage], now_s: float) -> list[Effect]:
        """Handle messages, in the order of their partition."""
        if assignment != self._assignment:
            return []
        letters: list[tuple[StoredMessage, Sequence[Outgoing]]] = []
        for message in messages:
            if not self._positions.advance(message.partition, message.offset):
                continue
            self.votes_read += 1
            vote = self._stage.read(message)
            if vote is None:
                continue
            self._positions.hold(message.partition, message.offset)
            if isinstance(vote, Outgoing):
                letters.append((message, [vote]))
                continue
            waiting = _Waiting(message, vote)
            self._new.append(waiting)
            self._new_bytes += waiting.size
        return self._send(letters) + self._look_up(now_s)

    def found(self, assignment: int, found: Found, now_s: float) -> list[Effect]:
        """The answer to Lookup."""
        if assignment != self._assignment:
            return []
        asked, self._asked = self._asked, []
        done: list[tuple[StoredMessage, Sequence[Outgoing]]] = []
        for waiting in asked:
            if not waiting.missing:
                self._new_bytes -= waiting.size
            step = self._stage.form(waiting.message, waiting.vote, found)
            if not step.missing:
                done.append((waiting.message, step.outgoing))
            elif why := self._why_given_up(waiting, step.missing, now_s):
                done.append((waiting.message, [*step.outgoing, self._stage.give_up(waiting.message, why)]))
            else:
                heappush(self._missing, waiting)
                self._missing_bytes += waiting.size
        return self._send(done) + self._look_up(now_s)

    def tick(self, now_s: float) -> list[Effect]:
        """Look up what is due by the clock; call this often."""
        return self._look_up(now_s)

    def delivered(self, token: int) -> list[Effect]:
        """Kafka has all messages of this send."""
        for consequence in self._in_flight.acknowledge(token):
            consequence()
        return []

    def _look_up(self, now_s: float) -> list[Effect]:
        """Start a lookup, unless one is under way: of new votes at once, of incomplete ones when due."""
        if self._asked:
            return []
        asked = [self._new.popleft() for _ in range(min(len(self._new), _MOST_ASKED))]
        while self._missing and self._missing[0].due_s <= now_s and len(asked) < _MOST_ASKED:
            asked.append(heappop(self._missing))
            self._missing_bytes -= asked[-1].size
        if not asked:
            return []
        self._asked = sorted(asked, key=lambda waiting: waiting.message.offset)
        votes = [waiting.vote for waiting in asked]
        candidates = frozenset(
            place for vote in votes if vote.gives_a_pair for place in (vote.left, vote.right)
        )
        names = frozenset(name for vote in votes for name in (vote.vote_id, vote.takes_back) if name)
        return [Lookup(self._assignment, candidates, names)]

    def _why_given_up(self, waiting: _Waiting, missing: Sequence[str], now_s: float) -> str:
        """Record a lookup; returns why the vote is given up, or an empty text if it keeps waiting."""
        if waiting.missing:
            waiting.waited_s += min(now_s - waiting.looked_s, self._longest_pause_s + _ANSWER_S)
        waiting.missing, waiting.looked_s = missing, now_s
        waiting.pause_s = min(max(_FIRST_PAUSE_S, 2 * waiting.pause_s), self._longest_pause_s)
        what = " and ".join(missing)
        if waiting.waited_s >= self._timeout_s:
            return f"{what} did not arrive within {self._timeout_s:g} s"
        if self._missing_bytes + waiting.size > self._most_waiting_bytes:
            return f"{what} has not arrived, and the {self._most_waiting_bytes} bytes for votes are full"
        return ""

    def _send(self, done: Sequence[tuple[StoredMessage, Sequence[Outgoing]]]) -> list[Effect]:
        if not done:
            return []
        then: list[Callable[[], None]] = [
            partial(self._positions.release, message.partition, message.offset) for message, _ in done
        ]
        return [Send(self._in_flight.add(then), [one for _, outgoing in done for one in outgoing])]
