"""Performs the effects of the state machines: moves bytes to and from Kafka, and decides nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence

from streams.errors import NoBroker
from streams.fail_points import reach
from streams.kafka.settings import Settings
from streams.messages.candidates import Found
from streams.messages.checkpoints import checkpoint_message
from streams.messages.contracts import RunClosed
from streams.messages.dead_letters import KINDS, kind_of
from streams.messages.stored import Outgoing
from streams.worker.batches import Batch, BrokerAway, Delivery, Partition, Revoked
from streams.worker.effects import (
    Asynchronous,
    Effect,
    Lookup,
    Open,
    PublishSnapshot,
    Recall,
    SaveCheckpoint,
    Send,
)
from streams.worker.first_error import FirstError
from streams.worker.outbox import Outbox
from streams.worker.pair_side import PairSide
from streams.worker.sendings import Sendings, Side
from streams.worker.stages import Writer
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide

log = logging.getLogger(__name__)

_MOST_UNSENT_BYTES = 32 << 20
_MOST_WAITING_BYTES = 32 << 20
_AGAIN_S = 1.0
_LOOK_FOR_ROOM_S = 0.01
_LAST_ANSWERS_S = 10.0
_LONGEST_COMMIT_S = 15.0
"""Time limit of a commit, longer than the delivery waits for a broker."""
_COMMITTED: dict[type, str] = {
    TraceSide: "former.released",
    PairSide: "learner.acknowledged",
    VoteSide: "votes.released",
}
"""State machine to the fail point after its commit."""


class Shell:
    """Connects one worker's state machines to its delivery, its outbox and its models' writers.

    ``recall`` returns the number of partitions of the trace topic and the closed runs. ``look_up`` finds the
    candidates of votes. ``writer_of`` creates the writer of a model. ``on_failure`` is called once, for the
    first error that no message is to blame for; from then on nothing is read, published or committed.
    ``on_published`` receives the messages published to the snapshots topic, and the seconds that took.
    """

    def __init__(
        self,
        settings: Settings,
        trace: TraceSide,
        pairs: PairSide,
        votes: VoteSide,
        *,
        recall: Callable[[], Awaitable[tuple[int, Iterable[RunClosed]]]],
        look_up: Callable[[Lookup], Awaitable[Found]],
        writer_of: Callable[[str], Writer],
        on_failure: Callable[[BaseException], None],
        on_published: Callable[[Sequence[Outgoing], float], None] = lambda messages, took_s: None,
    ) -> None:
        self._settings = settings
        self._trace, self._pairs, self._votes = trace, pairs, votes
        self._recall, self._look_up, self._writer_of = recall, look_up, writer_of
        self.first_error = FirstError(on_failure)
        self._on_published = on_published
        self.dead_letters = dict.fromkeys(KINDS, 0)
        """Kind to the number sent since the start."""
        self._delivery: Delivery
        self._outbox: Outbox
        self._writers: dict[str, Writer] = {}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One lock per model, so that of two writers the newer one is opened last."""
        self._owned: list[Partition] = []
        self._sendings = Sendings(settings.dead_letters_topic)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ending = False
        self._is_assigned = False

    @property
    def sides(self) -> dict[str, Side]:
        """Topic to the state machine that handles it."""
        settings = self._settings
        return {
            settings.trace_topic: self._trace,
            settings.pairs_topic: self._pairs,
            settings.votes_topic: self._votes,
        }

    @property
    def is_assigned(self) -> bool:
        """Whether the group has assigned partitions to this worker, perhaps none."""
        return self._is_assigned

    @property
    def learning(self) -> int | None:
        """The assignment by which this worker learns the pairs; 0 if another does, None before the first."""
        if not self._is_assigned:
            return None
        has_pairs = any(topic == self._settings.pairs_topic for topic, _ in self._owned)
        return self._delivery.assignment if has_pairs else 0

    def connect(self, delivery: Delivery, outbox: Outbox) -> None:
        """Must be called before any other method."""
        self._delivery, self._outbox = delivery, outbox

    def assigned(self, assignment: int, partitions: Iterable[Partition]) -> None:
        """The group has assigned these partitions to this worker."""
        with self.first_error.failing():
            self._owned, self._is_assigned = sorted(partitions), True
            topics = {topic for topic, _ in self._owned}
            if self._settings.trace_topic in topics:
                self._perform(self._trace, self._trace.assigned(assignment))
            if self._settings.pairs_topic in topics:
                self._perform(self._pairs, self._pairs.assigned(assignment))
            if self._settings.votes_topic in topics:
                self._perform(self._votes, self._votes.assigned(assignment))

    def revoked(self) -> None:
        """The group has revoked all partitions."""
        if self._owned:
            names = ", ".join(f"{topic}[{number}]" for topic, number in self._owned)
            log.warning("gave up %s: the group of trainers is rebalancing", names)
        self._owned, self._is_assigned = [], False
        self._trace.revoked()
        self._pairs.revoked()
        self._votes.revoked()
        self._sendings.clear()

    async def read_traces(self, batch: Batch) -> None:
        """Form pairs from a batch of the trace topic; returns when there is room for the next."""
        if self.first_error.is_there or self._is_ending:
            return
        with self.first_error.failing():
            effects = self._trace.read(batch.assignment, batch.messages)
            reach("former.formed")
            self._perform(self._trace, effects)
        await self._room(self._trace)

    async def read_pairs(self, batch: Batch) -> None:
        """Learn a batch of the pairs topic; returns when there is room for the next."""
        if self.first_error.is_there or self._is_ending:
            return
        with self.first_error.failing():
            effects = self._pairs.read(batch.assignment, batch.messages, _now_s())
            reach("learner.learnt")
            self._perform(self._pairs, effects)
        await self._room(self._pairs)

    async def read_votes(self, batch: Batch) -> None:
        """Look up the candidates of a batch of votes; returns when there is room for the next."""
        if self.first_error.is_there or self._is_ending:
            return
        with self.first_error.failing():
            self._perform(self._votes, self._votes.read(batch.assignment, batch.messages, _now_s()))
        await self._room(self._votes)

    def tick(self) -> None:
        """Publish and look up what is due by the clock; call this often."""
        with self.first_error.failing():
            self._perform(self._pairs, self._pairs.tick(_now_s()))
            if not self._is_ending:
                self._perform(self._votes, self._votes.tick(_now_s()))

    def silence(self, elapsed_s: float, timeout_s: float) -> None:
        """``elapsed_s`` seconds passed in which no trace event was left unread."""
        if self.first_error.is_there or self._is_ending:
            return  # events that could not be forwarded are still to be read
        with self.first_error.failing():
            self._perform(self._trace, self._trace.tick(elapsed_s, timeout_s))

    def sent(self, numbers: Sequence[int]) -> None:
        """Kafka has these messages of the outbox."""
        with self.first_error.failing():
            for number in numbers:
                done = self._sendings.sent(number)
                if done is not None:
                    reach("former.sent")
                    self._perform(done.side, done.side.delivered(done.token))

    def refused(self, number: int, message: Outgoing, error: Exception) -> None:
        """A message of the outbox is too large for its topic: send a dead letter instead."""
        with self.first_error.failing():
            instead = self._sendings.refused(number, message, error, int(time.time() * 1000))
            if instead is not None:
                self._count_letter(instead[1])
                self._outbox.send(*instead)

    def failed(self, numbers: Sequence[int], error: Exception) -> None:
        """Kafka does not accept these messages of the outbox; the next worker reads their sources again."""
        if any(number in self._sendings for number in numbers):
            self.first_error.fail(error)

    async def commit(self) -> None:
        """Commit what has become safe."""
        with self.first_error.failing():
            await self._commit()

    async def _commit(self) -> None:
        assignment = self._delivery.assignment
        for topic, side in self.sides.items():
            offsets = side.positions.to_commit()
            if not offsets or self.first_error.is_there:
                continue
            try:
                # The committing thread may have ended and never answer.
                async with asyncio.timeout(_LONGEST_COMMIT_S):
                    await self._delivery.commit(assignment, {(topic, p): o for p, o in offsets.items()})
            except (Revoked, BrokerAway, TimeoutError):
                return  # nothing is lost: it is committed later, or another worker reads it again
            if assignment == self._delivery.assignment:
                side.positions.committed(offsets)
            reach(_COMMITTED[type(side)])

    async def finish(self) -> None:
        """Read nothing more, save what was learnt since the last checkpoints, and commit it."""
        self._is_ending = True
        with self.first_error.failing():
            await self._answers()
            if not self.first_error.is_there:
                self._perform(self._pairs, self._pairs.last_words())
                await self._answers()
        await self.commit()
        for writer in self._writers.values():
            with self.first_error.failing():
                await writer.close()

    async def _answers(self) -> None:
        """Wait, up to a limit, for all effects under way and those that follow from them."""
        deadline_s = _now_s() + _LAST_ANSWERS_S
        while self._tasks and _now_s() < deadline_s:
            await asyncio.wait(self._tasks, timeout=deadline_s - _now_s())

    def _perform(self, side: Side, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._send(side, effect)
            else:
                task = asyncio.ensure_future(self._guarded(effect))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _send(self, side: Side, effect: Send) -> None:
        if not effect.messages:
            self._perform(side, side.delivered(effect.token))
            return
        letters = self._settings.dead_letters_topic
        for number, message in self._sendings.begin(side, effect):
            if message.topic == letters:
                self._count_letter(message)
            self._outbox.send(number, message)
            reach("former.one-sent")

    def _count_letter(self, letter: Outgoing) -> None:
        self.dead_letters[kind_of(letter.headers)] += 1

    async def _answer(self, effect: Asynchronous) -> None:
        if isinstance(effect, Recall):
            partitions, closed = await self._recall()
            await self._outbox.know_partitions(self._settings.trace_topic, partitions)
            self._perform(self._trace, self._trace.recalled(effect.assignment, partitions, closed))
        elif isinstance(effect, Lookup):
            found = await self._look_up(effect)
            reach("votes.found")
            self._perform(self._votes, self._votes.found(effect.assignment, found, _now_s()))
        elif isinstance(effect, Open):
            async with self._opening[effect.model]:
                await self._open(effect)
        elif isinstance(effect, PublishSnapshot):
            if await self._publish(effect.assignment, effect.model, [effect.snapshot]):
                done = self._pairs.published(effect.assignment, effect.model, took_s=0.0, now_s=_now_s())
                self._perform(self._pairs, done)
        elif isinstance(effect, SaveCheckpoint):
            # Encoding a few MB takes 0.1 s, too long for the event loop.
            message, took_s = await asyncio.to_thread(_encoded, effect, self._settings.snapshots_topic)
            snapshot = [] if effect.snapshot is None else [effect.snapshot]
            if await self._publish(effect.assignment, effect.model, [*snapshot, message]):
                done = self._pairs.saved(effect.assignment, effect.model, took_s=took_s, now_s=_now_s())
                self._perform(self._pairs, done)

    async def _open(self, effect: Open) -> None:
        # Each assignment has its own writer; closing the earlier one ends its publications under way.
        if earlier := self._writers.pop(effect.model, None):
            await earlier.close()
        if effect.assignment != self._delivery.assignment:
            return
        writer = self._writers[effect.model] = self._writer_of(effect.model)
        recovery = await writer.open()
        reach("learner.opened")
        now_s = _now_s()
        self._perform(self._pairs, self._pairs.opened(effect.assignment, effect.model, recovery, now_s))

    async def _publish(self, assignment: int, model: str, messages: Sequence[Outgoing]) -> bool:
        """Publish, unless the assignment has changed or the worker has failed; returns whether it did."""
        if assignment != self._delivery.assignment or self.first_error.is_there:
            return False
        before_s = _now_s()
        await self._writers[model].publish(*messages)
        self._on_published(messages, _now_s() - before_s)
        reach("learner.snapshot-published")
        return True

    async def _room(self, side: Side) -> None:
        """Wait while too many messages are in memory."""
        while not self.first_error.is_there and (
            self._outbox.unsent_bytes > _MOST_UNSENT_BYTES or side.waiting_bytes > _MOST_WAITING_BYTES
        ):
            await asyncio.sleep(_LOOK_FOR_ROOM_S)

    async def _guarded(self, effect: Asynchronous) -> None:
        # After a revocation the next owner of the partitions does this work.
        while effect.assignment == self._delivery.assignment:
            try:
                await self._answer(effect)
            except NoBroker as error:
                if self._is_ending:
                    return
                log.warning("waits for the broker: %s", error)
                await asyncio.sleep(_AGAIN_S)
            except Exception as error:
                if effect.assignment == self._delivery.assignment:
                    self.first_error.fail(error)
                return
            else:
                return


def _encoded(effect: SaveCheckpoint, topic: str) -> tuple[Outgoing, float]:
    """The encoded message, and the CPU seconds that encoding took."""
    before = time.thread_time()
    message = checkpoint_message(effect.checkpoint, topic)
    return message, time.thread_time() - before


def _now_s() -> float:
    return time.monotonic()
