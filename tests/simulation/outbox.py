"""What a worker has sent and Kafka does not have: a queue a partition, and acknowledgements on their way."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from streams.messages.stored import Outgoing
from streams.worker.pair_side import PairSide
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide
from tests.simulation.kafka import Place, SimKafka

Side = TraceSide | PairSide | VoteSide
Sent = tuple[Side, int]
"""Who has sent something, and its token."""


class SimOutbox:
    """Messages of one place keep their order, and nothing else does."""

    def __init__(self, kafka: SimKafka, rng: random.Random) -> None:
        self._kafka = kafka
        self._rng = rng
        self._queues: dict[Place, deque[tuple[Sent, Outgoing]]] = {}
        self._unsent: dict[Sent, int] = {}
        self._acknowledged: list[Sent] = []
        self.has_failed = False

    @property
    def is_empty(self) -> bool:
        return not (self._queues or self._acknowledged)

    def holds(self, topic: str) -> bool:
        """Whether a message of this topic is on its way."""
        return any(message.topic == topic for queue in self._queues.values() for _, message in queue)

    def put(self, sent: Sent, messages: Sequence[Outgoing]) -> None:
        self._unsent[sent] = len(messages)
        if not messages:
            self._acknowledged.append(sent)
        for message in messages:
            place = (message.topic, 0 if message.partition is None else message.partition)
            self._queues.setdefault(place, deque()).append((sent, message))

    def send_one(self) -> bool:
        """One message gets to Kafka."""
        if not self._queues:
            return False
        sent, message = self._pop()
        self._kafka.append(message)
        self._unsent[sent] -= 1
        if not self._unsent[sent]:
            self._acknowledged.append(sent)
        return True

    def fail_one(self) -> bool:
        """A send fails, of which the worker hears later; what it sent after that may still get to Kafka."""
        if not self._queues:
            return False
        self._pop()
        self.has_failed = True
        return True

    def hear(self) -> Sent | None:
        """An acknowledgement: late, in any order, perhaps twice."""
        if not self._acknowledged:
            return None
        at = self._rng.randrange(len(self._acknowledged))
        sent = self._acknowledged[at]
        if self._rng.random() < 0.9:
            del self._acknowledged[at]
        return sent

    def end(self) -> None:
        """At once; some of what was on the wire gets to Kafka."""
        for queue in self._queues.values():
            for _, message in list(queue)[: self._rng.randrange(len(queue) + 1)]:
                self._kafka.append(message)

    def _pop(self) -> tuple[Sent, Outgoing]:
        place = self._rng.choice(list(self._queues))
        queue = self._queues[place]
        first = queue.popleft()
        if not queue:
            del self._queues[place]
        return first
