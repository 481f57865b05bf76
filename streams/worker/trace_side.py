"""The trace topic's state machine: runs become pairs, and no crash loses one. Pure.

A run holds the offset of its first message, so the partition's owner after a crash reads the whole run again.
The run's pairs and their end go to Kafka first. Once they are there, the mark that the run is closed follows.
Once that is there, the hold ends. A message outside a run (one that became a dead letter, or was forwarded to
its run's partition) holds its own offset until its result is on Kafka.

After a revocation, answers to earlier effects have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from streams.messages.contracts import RunClosed, RunRevision
from streams.messages.stored import Outgoing, StoredMessage
from streams.worker.effects import Effect, Recall, Send
from streams.worker.offsets import InFlight, Positions
from streams.worker.stages import TraceStage, TraceStep, first_of_each


class TraceSide:
    """Decides what is held, sent and committed for the trace topic."""

    def __init__(self, stage: TraceStage) -> None:
        self._stage = stage
        self._assignment = 0
        self._recalled = False
        self._waiting: list[StoredMessage] = []
        self._waiting_bytes = 0
        self._positions = Positions()
        self._in_flight = InFlight()
        self._held: dict[RunRevision, tuple[int, int]] = {}
        """Run and revision to the partition and offset of its first message."""
        self.events_read = 0
        """Number of events read since the start, each counted once per assignment."""
        self._marks: list[tuple[Outgoing, Callable[[], None]]] = []
        """Marks to send for closed runs whose pairs are on Kafka, each with the callback that ends a hold."""

    @property
    def held_runs(self) -> Collection[RunRevision]:
        """Open runs, whose events must be read again after a crash."""
        return self._held.keys()

    @property
    def waiting_bytes(self) -> int:
        """Size of the messages that wait for the answer to Recall."""
        return self._waiting_bytes

    @property
    def first_waiting(self) -> dict[int, StoredMessage]:
        """Partition to the first message that waits for the answer to Recall."""
        return first_of_each(self._waiting)

    def assigned(self, assignment: int) -> list[Effect]:
        """This worker owns partitions now, from the group's committed offsets on."""
        self._assignment = assignment
        return [Recall(assignment)]

    def revoked(self) -> None:
        """Another worker owns the partitions, or they will be reassigned; they are read again from the
        commit."""
        self._assignment = 0
        self._recalled = False
        self._waiting.clear()
        self._waiting_bytes = 0
        self._positions.clear()
        self._in_flight.clear()
        self._held.clear()
        self._marks.clear()
        self._stage.forget()

    def recalled(self, assignment: int, partitions: int, closed: Iterable[RunClosed]) -> list[Effect]:
        """The answer to Recall."""
        if assignment != self._assignment:
            return []
        self._stage.partitions = partitions
        self._stage.recall(closed)
        self._recalled = True
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return self.read(assignment, waiting)

    def read(self, assignment: int, messages: Sequence[StoredMessage]) -> list[Effect]:
        """Handle messages, in the order of their partitions; before the answer to Recall they wait."""
        if assignment != self._assignment:
            return []
        if not self._recalled:
            self._waiting += messages
            self._waiting_bytes += sum(len(message.value) for message in messages)
            return []
        outgoing: list[Outgoing] = []
        then: list[Callable[[], None]] = []
        repeated: dict[int, StoredMessage] = {}
        for message in messages:
            if self._positions.advance(message.partition, message.offset):
                self.events_read += 1
                step = self._stage.on_message(message)
                for index, one in enumerate(step.outgoing, start=len(outgoing)):
                    if one.topic == message.topic:
                        repeated[index] = message
                self._take(message, step, outgoing, then)
        return self._send(outgoing, then, repeated)

    def tick(self, elapsed_s: float, timeout_s: float) -> list[Effect]:
        """``elapsed_s`` seconds passed in which nothing was left unread."""
        if not self._recalled:
            return []
        ends, given_up = self._stage.on_tick(elapsed_s, timeout_s)
        outgoing = list(ends)
        then: list[Callable[[], None]] = []
        for step in given_up:
            outgoing += step.outgoing
            then += self._end_of_hold(step)
        return self._send(outgoing, then)

    def delivered(self, token: int) -> list[Effect]:
        """Kafka has all messages of this send."""
        for consequence in self._in_flight.acknowledge(token):
            consequence()
        marks = self._marks.copy()
        self._marks.clear()
        return self._send([mark for mark, _ in marks], [release for _, release in marks])

    @property
    def positions(self) -> Positions:
        """How far was read, and what may be committed."""
        return self._positions

    def _take(
        self,
        message: StoredMessage,
        step: TraceStep,
        outgoing: list[Outgoing],
        then: list[Callable[[], None]],
    ) -> None:
        outgoing += step.outgoing
        place = message.partition, message.offset
        if step.run is None:
            if step.outgoing:
                self._positions.hold(*place)
                then.append(partial(self._positions.release, *place))
            return
        if step.run not in self._held:
            self._held[step.run] = place
            self._positions.hold(*place)
        if step.closed is not None:
            (release,) = self._end_of_hold(step)
            then.append(partial(self._marks.append, (step.closed, release)))

    def _end_of_hold(self, step: TraceStep) -> list[Callable[[], None]]:
        """The callback that ends a closed run's hold, if any; a later run of the same name has its own."""
        place = self._held.pop(step.run, None) if step.run is not None else None
        return [] if place is None else [partial(self._positions.release, *place)]

    def _send(
        self,
        outgoing: list[Outgoing],
        then: list[Callable[[], None]],
        repeated: Mapping[int, StoredMessage] | None = None,
    ) -> list[Effect]:
        if not outgoing and not then:
            return []
        return [Send(self._in_flight.add(then), outgoing, repeated or {})]
