"""One simulated worker: the real state machines and the real core, and answers that take their time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from streams.kafka.closed_runs import marks_among
from streams.messages.checkpoints import Recovery, checkpoint_message, decode_checkpoint
from streams.messages.codec import decode_snapshot
from streams.messages.contracts import snapshot_key
from streams.messages.stored import Outgoing
from streams.worker.effects import Effect, Open, PublishSnapshot, Recall, SaveCheckpoint, Send
from streams.worker.pair_side import Pace, PairSide
from streams.worker.trace_side import TraceSide
from tests.simulation.kafka import CLOSED, DEAD, PAIRS, SNAPSHOTS, TRACE, FencedOff, Place, SimKafka
from trainers.pair_processor import PairProcessors
from trainers.pairing import PairingRules
from trainers.trace_processor import TraceProcessor

PACE = Pace(snapshot_every_pairs=5, snapshot_every_s=3.0, checkpoint_every_pairs=20, checkpoint_every_s=10.0)
"""Often enough for a short life; a second is a step of the simulation."""
SILENT_S = 100.0

Side = TraceSide | PairSide


class Ended(Exception):
    """The worker stops at an error that is no fault of a message."""


class SimWorker:
    """Lives until ``kill``. What it has sent and Kafka has not is in its outbox, a queue a partition."""

    def __init__(self, kafka: SimKafka, number: int, rng: random.Random) -> None:
        self.number = number
        self._kafka = kafka
        self._rng = rng
        rules = PairingRules()
        self.trace = TraceSide(
            TraceProcessor(
                rules,
                trace_topic=TRACE,
                pairs_topic=PAIRS,
                dead_letters_topic=DEAD,
                closed_runs_topic=CLOSED,
            )
        )
        self.pairs = PairSide(
            PairProcessors(rules, snapshots_topic=SNAPSHOTS, dead_letters_topic=DEAD, topic_ids={}),
            PACE,
            cpu_s=lambda: self._rng.choice((0.0, 0.01)),
        )
        self.generation = 0
        self.is_stalled = False
        self._next: dict[Place, int] = {}
        self._outbox: dict[Place, deque[tuple[Side, int, Outgoing]]] = {}
        self._unsent: dict[tuple[Side, int], int] = {}
        self._acknowledged: list[tuple[Side, int]] = []
        self._asked: list[Effect] = []
        self._epochs: dict[str, int] = {}
        self._has_failed = False

    def stall(self) -> None:
        """Do nothing, and hear of nothing, until ``wake``."""
        self.is_stalled = True

    def wake(self) -> None:
        self.is_stalled = False

    def hear_of_rebalance(self) -> bool:
        """Lose what was owned, and own what the group says now; until then it goes on as if nothing were."""
        if self.generation == self._kafka.generation:
            return False
        self.trace.revoked()
        self.pairs.revoked()
        self.generation = self._kafka.generation
        mine = [place for place, owner in self._kafka.owner.items() if owner == self.number]
        self._next = {place: self._kafka.committed.get(place, 0) for place in mine}
        if any(topic == TRACE for topic, _ in mine):
            self._perform(self.trace, self.trace.assigned(self.generation))
        self._perform(self.pairs, self.pairs.assigned(self.generation))
        return True

    def read(self, now_s: float) -> bool:
        """A batch of one of its partitions; False where there is nothing to read."""
        waiting = [place for place, offset in self._next.items() if offset < self._kafka.end(place)]
        if not waiting:
            return False
        place = self._rng.choice(waiting)
        batch = self._kafka.read(place, self._next[place], self._rng.choice((1, 1, 3, 20, 500)))
        self._next[place] += len(batch)
        if self._rng.random() < 0.1:  # Kafka's clients may fetch the same again
            batch = batch + batch[-2:]
        if place[0] == TRACE:
            self._perform(self.trace, self.trace.read(self.generation, batch))
        else:
            self._perform(self.pairs, self.pairs.read(self.generation, batch, now_s))
        return True

    def send_one(self) -> bool:
        """One message of the outbox gets to Kafka."""
        if not self._outbox:
            return False
        place = self._rng.choice(list(self._outbox))
        queue = self._outbox[place]
        side, token, message = queue.popleft()
        if not queue:
            del self._outbox[place]
        self._kafka.append(message)
        self._unsent[side, token] -= 1
        if not self._unsent[side, token]:
            self._acknowledged.append((side, token))
        return True

    def fail_one(self) -> bool:
        """A send fails, of which the worker hears later; what it sent after that may still get to Kafka."""
        if not self._outbox:
            return False
        place = self._rng.choice(list(self._outbox))
        self._outbox[place].popleft()
        if not self._outbox[place]:
            del self._outbox[place]
        self._has_failed = True
        return True

    def hear(self) -> bool:
        """An acknowledgement arrives: late, in any order, perhaps twice."""
        if self._has_failed and self._rng.random() < 0.3:
            raise Ended("a send failed")
        if not self._acknowledged:
            return False
        at = self._rng.randrange(len(self._acknowledged))
        side, token = self._acknowledged[at]
        if self._rng.random() < 0.9:
            del self._acknowledged[at]
        self._perform(side, side.delivered(token))
        return True

    def answer(self, now_s: float) -> bool:
        """Something that the machine asked for is done. Raises Ended where its writer was fenced off."""
        if not self._asked:
            return False
        effect = self._asked.pop(self._rng.randrange(len(self._asked)))
        if isinstance(effect, Send) or effect.assignment != self.generation:
            return True
        kafka, took = self._kafka, self._rng.choice((0.0, 0.5))
        if isinstance(effect, Recall):
            marks = marks_among(kafka.all_of(CLOSED))
            done = self.trace.recalled(effect.assignment, kafka.partitions(TRACE), marks)
            self._perform(self.trace, done)
        elif isinstance(effect, Open):
            self._epochs[effect.model] = kafka.open_writer(effect.model)
            recovery = _recovery(kafka, effect.model)
            self._perform(self.pairs, self.pairs.opened(effect.assignment, effect.model, recovery, now_s))
        elif isinstance(effect, PublishSnapshot):
            self._publish(effect.model, effect.snapshot)
            done = self.pairs.published(effect.assignment, effect.model, took_s=took, now_s=now_s)
            self._perform(self.pairs, done)
        elif isinstance(effect, SaveCheckpoint):
            checkpoint = checkpoint_message(effect.checkpoint, SNAPSHOTS)
            self._publish(effect.model, *([effect.snapshot] if effect.snapshot else []), checkpoint)
            done = self.pairs.saved(effect.assignment, effect.model, took_s=took, now_s=now_s)
            self._perform(self.pairs, done)
        return True

    def commit(self) -> bool:
        """What may be committed now; a worker that was left out of a rebalance commits nothing."""
        did = False
        for topic, side in ((TRACE, self.trace), (PAIRS, self.pairs)):
            offsets = side.positions.to_commit()
            if offsets and self._kafka.commit(self.generation, {(topic, p): o for p, o in offsets.items()}):
                side.positions.committed(offsets)
                did = True
        return did

    def tick(self, now_s: float) -> None:
        self._perform(self.pairs, self.pairs.tick(now_s))

    @property
    def has_read_all_traces(self) -> bool:
        """Of its partitions, with nothing on its way to others."""
        trace = [place for place in self._next if place[0] == TRACE]
        on_its_way = any(message.topic == TRACE for queue in self._outbox.values() for _, _, message in queue)
        read = all(self._next[place] >= self._kafka.end(place) for place in trace)
        return read and not on_its_way and self.generation == self._kafka.generation

    def end_silent_runs(self) -> None:
        """Much time goes by."""
        self._perform(self.trace, self.trace.tick(SILENT_S, SILENT_S))

    def do_all(self, now_s: float) -> bool:
        """All that can be done now; whether there was anything."""
        self.tick(now_s)
        did = [self.hear_of_rebalance()]
        while any(step := [self.answer(now_s), self.read(now_s), self.send_one(), self.hear()]):
            did += step
        return any([*did, self.commit()])

    def kill(self) -> None:
        """At once; some of what was on the wire gets to Kafka."""
        for queue in self._outbox.values():
            for _, _, message in list(queue)[: self._rng.randrange(len(queue) + 1)]:
                self._kafka.append(message)

    @property
    def is_idle(self) -> bool:
        return not (self._outbox or self._acknowledged or self._asked)

    def _perform(self, side: Side, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if not isinstance(effect, Send):
                self._asked.append(effect)
                continue
            self._unsent[side, effect.token] = len(effect.messages)
            if not effect.messages:
                self._acknowledged.append((side, effect.token))
            for message in effect.messages:
                place = (message.topic, 0 if message.partition is None else message.partition)
                self._outbox.setdefault(place, deque()).append((side, effect.token, message))

    def _publish(self, model: str, *messages: Outgoing) -> None:
        try:
            self._kafka.publish(model, self._epochs[model], messages)
        except FencedOff:
            raise Ended(f"the writer of {model} is fenced off") from None


def _recovery(kafka: SimKafka, model: str) -> Recovery:
    checkpoint = kafka.newest(snapshot_key(model, "checkpoint").encode())
    snapshot = kafka.newest(snapshot_key(model).encode())
    return Recovery(
        decode_checkpoint(checkpoint.value, checkpoint.source) if checkpoint else None,
        decode_snapshot(snapshot.value, snapshot.source).version if snapshot else 0,
    )
