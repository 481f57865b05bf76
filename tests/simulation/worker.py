"""One simulated worker: the real state machines and the real core, and answers that take their time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from streams.kafka.closed_runs import marks_among
from streams.messages.candidates import Found, Search
from streams.messages.checkpoints import checkpoint_message
from streams.worker.effects import Effect, Lookup, Open, PublishSnapshot, Recall, SaveCheckpoint, Send
from streams.worker.pair_side import Pace, PairSide
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide
from tests.simulation.kafka import CLOSED, DEAD, PAIRS, SNAPSHOTS, TRACE, VOTES, FencedOff, Place, SimKafka
from tests.simulation.outbox import Side, SimOutbox
from tests.simulation.writer import Opening, OpeningAgain, SimWriter
from trainers.pairs.pairing import PairingRules
from trainers.processing.pair_processor import PairProcessors
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.vote_processor import VoteProcessor

PACE = Pace(snapshot_every_pairs=5, snapshot_every_s=3.0, checkpoint_every_pairs=20, checkpoint_every_s=10.0)
"""Often enough for a short life; a second is a step of the simulation."""
SILENT_S = 100.0
PATIENCE_S = 1_000.0
"""With a vote whose candidates do not come; longer than a life, but for its end."""
_IMPATIENCE = 0.02
"""How often who ends waits no longer; from 0 to 1."""


class Ended(Exception):
    """The worker stops at an error that is no fault of a message."""


@dataclass(slots=True)
class _Ending:
    """How far a worker is that was told to end."""

    has_spoken: bool = False
    has_committed: bool = False
    is_clean: bool = True
    """Whether it has waited for all, and nothing came in between."""


_Asked = Effect | Opening | OpeningAgain


class SimWorker:
    """Lives until ``kill``, or until something raises Ended.

    ``time_outs`` is how often a transaction is open for too long, from 0 to 1.
    """

    def __init__(
        self, kafka: SimKafka, number: int, rng: random.Random, rules: PairingRules, time_outs: float
    ) -> None:
        self.number = number
        self._kafka = kafka
        self._rng = rng
        self._time_outs = time_outs
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
        self.votes = VoteSide(
            VoteProcessor(rules, pairs_topic=PAIRS, dead_letters_topic=DEAD), timeout_s=PATIENCE_S
        )
        self.generation = 0
        self.is_stalled = False
        self._next: dict[Place, int] = {}
        self._outbox = SimOutbox(kafka, rng)
        self._asked: list[_Asked] = []
        self._writers: dict[str, SimWriter] = {}
        self._being_opened: set[str] = set()
        self._ending: _Ending | None = None

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
        self.votes.revoked()
        if self._ending is not None:
            self._ending.is_clean = False
        self.generation = self._kafka.generation
        mine = [place for place, owner in self._kafka.owner.items() if owner == self.number]
        self._next = {place: self._kafka.committed.get(place, 0) for place in mine}
        if any(topic == TRACE for topic, _ in mine):
            self._perform(self.trace, self.trace.assigned(self.generation))
        self._perform(self.pairs, self.pairs.assigned(self.generation))
        self._perform(self.votes, self.votes.assigned(self.generation))
        return True

    def read(self, now_s: float) -> bool:
        """A batch of one of its partitions; False where there is nothing to read."""
        if self._ending is not None:
            return False
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
        elif place[0] == VOTES:
            self._perform(self.votes, self.votes.read(self.generation, batch, now_s))
        else:
            self._perform(self.pairs, self.pairs.read(self.generation, batch, now_s))
        return True

    def send_one(self) -> bool:
        """One message of the outbox gets to Kafka."""
        return self._outbox.send_one()

    def fail_one(self) -> bool:
        """One send fails."""
        return self._outbox.fail_one()

    def hear(self) -> bool:
        """What became of a send. Raises Ended where one has failed."""
        if self._outbox.has_failed and self._rng.random() < 0.3:
            raise Ended("a send failed")
        sent = self._outbox.hear()
        if sent is None:
            return False
        side, token = sent
        self._perform(side, side.delivered(token))
        return True

    def answer(self, now_s: float) -> bool:
        """Something that the machine asked for is done. Raises Ended where its writer was fenced off."""
        if not self._asked:
            return False
        asked = self._asked.pop(self._rng.randrange(len(self._asked)))
        if isinstance(asked, Opening):
            self._open_on(asked, now_s)
        elif isinstance(asked, OpeningAgain):
            self._open_again_on(asked, now_s)
        elif isinstance(asked, Send) or asked.assignment != self.generation:
            return True
        elif isinstance(asked, Recall):
            marks = marks_among(self._kafka.all_of(CLOSED))
            done = self.trace.recalled(asked.assignment, self._kafka.partitions(TRACE), marks)
            self._perform(self.trace, done)
        elif isinstance(asked, Lookup):
            self._perform(self.votes, self.votes.found(asked.assignment, self._look_up(asked), now_s))
        elif isinstance(asked, Open):
            self._open(asked)
        elif self._rng.random() < self._time_outs and self._writers[asked.model].time_out():
            self._asked.append(OpeningAgain(asked, self._writers[asked.model]))
            self.is_stalled = self._rng.random() < 0.5  # as in the outage that it comes of
        else:
            self._publish(asked, now_s)
        return True

    def commit(self) -> bool:
        """What may be committed now; a worker that was left out of a rebalance commits nothing."""
        did = False
        for topic, side in ((TRACE, self.trace), (PAIRS, self.pairs), (VOTES, self.votes)):
            offsets = side.positions.to_commit()
            if offsets and self._kafka.commit(self.generation, {(topic, p): o for p, o in offsets.items()}):
                side.positions.committed(offsets)
                did = True
        return did

    def tick(self, now_s: float) -> None:
        self._perform(self.pairs, self.pairs.tick(now_s))
        if self._ending is None:
            self._perform(self.votes, self.votes.tick(now_s))

    @property
    def has_read_all_traces(self) -> bool:
        """Of its partitions, with nothing on its way to others. A failed send ends the worker at once, and
        no answer to Recall takes as long as a run may be silent."""
        if self._outbox.has_failed or self._outbox.holds(TRACE) or self.trace.waiting_bytes:
            return False
        trace = [place for place in self._next if place[0] == TRACE]
        read = all(self._next[place] >= self._kafka.end(place) for place in trace)
        return read and self.generation == self._kafka.generation

    def end_silent_runs(self) -> None:
        """Much time goes by."""
        self._perform(self.trace, self.trace.tick(SILENT_S, SILENT_S))

    def do_all(self, now_s: float) -> bool:
        """All that can be done now; whether there was anything."""
        self.tick(now_s)
        did = [self.hear_of_rebalance()]
        while any(step := self._one_of_each(now_s)):
            did += step
        return any([*did, self.commit()])

    def _one_of_each(self, now_s: float) -> list[bool]:
        return [self.answer(now_s), self.read(now_s), self.send_one(), self.hear(), self.end_on()]

    def stop(self) -> None:
        """It is told to end by itself: it reads nothing more."""
        if self._ending is None:
            self._ending = _Ending()

    def end_on(self) -> bool:
        """As ``Shell.finish``: answers, last checkpoints, what is in the outbox. Raises Ended at the end."""
        ending = self._ending
        if ending is None or self.generation == 0:
            return False
        if not self._outbox.is_empty if ending.has_committed else self._asked:
            if self._rng.random() > _IMPATIENCE:
                return False
            ending.is_clean = False
        if not ending.has_spoken:
            ending.has_spoken = True
            self._perform(self.pairs, self.pairs.last_words())
        elif not ending.has_committed:
            ending.has_committed = True
            self.commit()
        else:
            self.commit()
            if ending.is_clean and not self._outbox.has_failed and self.generation == self._kafka.generation:
                self._check_that_nothing_is_left()
            raise Ended("it was told to end")
        return True

    def _check_that_nothing_is_left(self) -> None:
        """Who ends in peace has committed all that it has read of the pairs."""
        read, committed = self.pairs.positions.next_offset(0), self._kafka.committed.get((PAIRS, 0), 0)
        if read is not None and read != committed:
            raise AssertionError(f"an end in peace has committed {committed} of {read} messages")

    def kill(self) -> None:
        """At once; some of what was on the wire gets to Kafka."""
        self._outbox.end()

    def _perform(self, side: Side, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._outbox.put((side, effect.token), effect.messages)
            else:
                self._asked.append(effect)

    def _look_up(self, effect: Lookup) -> Found:
        search = Search(effect.candidates, effect.votes)
        for message in self._kafka.all_of(VOTES):
            search.add_vote(message)
        # As on a real Kafka, where a run is found by its key.
        keys = {run_id.encode() for run_id in search.runs}
        for message in self._kafka.all_of(TRACE):
            if message.key in keys:
                search.add_event(message)
        return search.found()

    def _open(self, effect: Open) -> None:
        if self._is_being_opened(effect.model):
            self._asked.append(effect)
            return
        self._being_opened.add(effect.model)
        writer = self._writers[effect.model] = SimWriter(self._kafka, effect.model, self.number)
        self._asked.append(Opening(effect, writer))

    def _is_being_opened(self, model: str) -> bool:
        """Of two writers of a model the later one must be the last to be opened."""
        return model in self._being_opened

    def _open_on(self, opening: Opening, now_s: float) -> None:
        effect = opening.effect
        if not opening.is_opened:
            opening.is_opened = True
            opening.writer.open()
            self._asked.append(opening)
            return
        self._being_opened.discard(effect.model)
        recovery = opening.writer.read()
        self._perform(self.pairs, self.pairs.opened(effect.assignment, effect.model, recovery, now_s))

    def _open_again_on(self, opening: OpeningAgain, now_s: float) -> None:
        effect, writer = opening.effect, opening.writer
        if effect.assignment != self.generation or self._writers[effect.model] is not writer:
            return
        if not opening.is_allowed:
            if not writer.may_open_again():
                self._end_fenced_off(effect.model)
            opening.is_allowed = True
            self._asked.append(opening)
            return
        try:
            writer.open_again()
        except FencedOff:
            self._end_fenced_off(effect.model, by_another=False)
        self._publish(effect, now_s)

    def _publish(self, effect: PublishSnapshot | SaveCheckpoint, now_s: float) -> None:
        messages = [] if effect.snapshot is None else [effect.snapshot]
        if isinstance(effect, SaveCheckpoint):
            messages.append(checkpoint_message(effect.checkpoint, SNAPSHOTS))
        try:
            self._writers[effect.model].publish(messages)
        except FencedOff:
            self._end_fenced_off(effect.model)
        done = self.pairs.saved if isinstance(effect, SaveCheckpoint) else self.pairs.published
        took_s = self._rng.choice((0.0, 0.5))
        self._perform(self.pairs, done(effect.assignment, effect.model, took_s=took_s, now_s=now_s))

    def _end_fenced_off(self, model: str, *, by_another: bool = True) -> NoReturn:
        if by_another and self._kafka.opened_by[model] == self.number:
            raise AssertionError(f"a worker has fenced itself off from model {model}")
        raise Ended(f"the writer of {model} is fenced off")
