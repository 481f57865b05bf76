"""Maps messages in the outbox to their Send, and reports when a Send is complete."""

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
    """The Sends under way, by the outbox's message numbers; an unknown number dates from before ``clear``."""

    def __init__(self, dead_letters_topic: str) -> None:
        self._dead_letters_topic = dead_letters_topic
        self._numbers = count()
        self._open: dict[int, Sending] = {}
        self._repeated: dict[int, StoredMessage] = {}

    def begin(self, side: Side, effect: Send) -> Iterator[tuple[int, Outgoing]]:
        """Register a Send; yields each message with its number for the outbox."""
        sending = Sending(side, effect.token, len(effect.messages))
        for index, message in enumerate(effect.messages):
            number = next(self._numbers)
            self._open[number] = sending
            if index in effect.repeated:
                self._repeated[number] = effect.repeated[index]
            yield number, message

    def sent(self, number: int) -> Sending | None:
        """The Send that this message completes, or None."""
        self._repeated.pop(number, None)
        sending = self._open.pop(number, None)
        if sending is None:
            return None
        sending.left -= 1
        return None if sending.left else sending

    def refused(
        self, number: int, message: Outgoing, error: Exception, now_ms: int
    ) -> tuple[int, Outgoing] | None:
        """The replacement for a message that is too large for its topic, as part of the same Send; None for
        an unknown number. Raises ``error`` if there is no shorter replacement."""
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
        """The partitions were revoked: messages under way have no effect."""
        self._open.clear()
        self._repeated.clear()
