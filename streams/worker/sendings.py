"""Which messages in the outbox belong to which Send, and which of those are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from streams.messages.stored import Outgoing, StoredMessage
from streams.worker.effects import Send
from streams.worker.pair_side import PairSide
from streams.worker.refused import in_its_place
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide

Side = TraceSide | PairSide | VoteSide


@dataclass(slots=True)
class Sending:
    """A Send, and how many of its messages Kafka does not have yet."""

    side: Side
    token: int
    left: int


class Sendings:
    """By the numbers by which the outbox knows messages; an unknown one is of before ``clear``."""

    def __init__(self, dead_letters_topic: str) -> None:
        self._dead_letters_topic = dead_letters_topic
        self._numbers = count()
        self._open: dict[int, Sending] = {}
        self._repeated: dict[int, StoredMessage] = {}

    def begin(self, side: Side, effect: Send) -> Iterator[tuple[int, Outgoing]]:
        """Each message with its number, for the outbox."""
        sending = Sending(side, effect.token, len(effect.messages))
        for index, message in enumerate(effect.messages):
            number = next(self._numbers)
            self._open[number] = sending
            if index in effect.repeated:
                self._repeated[number] = effect.repeated[index]
            yield number, message

    def sent(self, number: int) -> Sending | None:
        """The Send of which this was the last message that Kafka did not have."""
        self._repeated.pop(number, None)
        sending = self._open.pop(number, None)
        if sending is None:
            return None
        sending.left -= 1
        return None if sending.left else sending

    def refused(
        self, number: int, message: Outgoing, error: Exception, now_ms: int
    ) -> tuple[int, Outgoing] | None:
        """What is to be sent in the place of a message that is too large for its topic, as part of the same
        Send. Raises ``error`` where nothing smaller would say as much."""
        repeated, sending = self._repeated.pop(number, None), self._open.pop(number, None)
        if sending is None:
            return None
        instead = in_its_place(message, repeated, self._dead_letters_topic, now_ms)
        if instead is None:
            raise error
        again = next(self._numbers)
        self._open[again] = sending
        return again, instead

    def __contains__(self, number: int) -> bool:
        return number in self._open

    def clear(self) -> None:
        """The partitions were taken away: what is under way has no consequences."""
        self._open.clear()
        self._repeated.clear()
