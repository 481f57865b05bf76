"""The pairs topic's state machine: models learn pairs, and publish snapshots and checkpoints. Pure.

A learnt pair holds its offset until a checkpoint that contains it is on Kafka, so the partition's owner after
a crash learns it again. Snapshots only serve, so they hold nothing. Each model has its own writer and waits
for no other.

After a revocation, answers to earlier effects have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from streams.messages.checkpoints import Recovery
from streams.messages.contracts import PairMessage
from streams.messages.stored import Outgoing, StoredMessage
from streams.worker.effects import Effect, Open, PublishSnapshot, SaveCheckpoint, Send
from streams.worker.offsets import InFlight, Positions
from streams.worker.stages import PairStage, first_of_each

_Read = tuple[StoredMessage, PairMessage]
_Places = dict[int, int]
"""Partition to offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a model publishes. Seconds are those of the worker's clock.

    If something was learnt, a snapshot is due ``snapshot_every_pairs`` pairs or ``snapshot_every_s`` after
    the last one, and a checkpoint ``checkpoint_every_pairs`` or ``checkpoint_every_s``. The snapshots of all
    models take at most half of ``share`` of the worker's time, and their checkpoints the other half.
    """

    snapshot_every_pairs: int = 20
    snapshot_every_s: float = 1.0
    checkpoint_every_pairs: int = 20_000
    checkpoint_every_s: float = 30.0
    least_interval_s: float = 0.04
    least_pause_s: float = 0.005
    """Pause after a publication: Kafka is still ending the transaction, and would delay the next by 20 ms."""
    share: float = 0.05


@dataclass(slots=True)
class _Due:
    """When a model's next snapshot, or next checkpoint, is due."""

    every_pairs: int
    every_s: float
    last_s: float
    pairs: int = 0
    changed: bool = False
    not_before_s: float = 0.0

    def now(self, now_s: float) -> bool:
        late = self.pairs >= self.every_pairs or now_s - self.last_s >= self.every_s
        return self.changed and late and now_s >= self.not_before_s

    def begin(self) -> None:
        self.pairs, self.changed = 0, False

    def end(self, begun_s: float, not_before_s: float) -> None:
        self.last_s, self.not_before_s = begun_s, not_before_s


@dataclass(slots=True)
class _Model:
    snapshot: _Due
    checkpoint: _Due
    is_open: bool = False
    is_publishing: bool = False
    """Whether a publication is under way; there is one at a time, as of two the older could arrive last."""
    begun_s: float = 0.0
    """When the state being published was taken."""
    took_s: float = 0.0
    """CPU seconds for taking that state."""
    waiting: list[_Read] = field(default_factory=list)
    """Messages read while the writer is being opened."""
    waiting_bytes: int = 0
    held: _Places = field(default_factory=dict)
    """The first messages that came after the last checkpoint was taken."""
    saving: _Places = field(default_factory=dict)
    """The first messages that only the checkpoint under way contains."""
    changed_s: float | None = None
    """Time of the oldest update that no snapshot taken so far contains."""
    taken_changed_s: float | None = None
    """Time of the oldest update that is new in the snapshot being published."""

    @property
    def unpublished_since_s(self) -> float | None:
        """Time of the oldest update that no published snapshot contains."""
        return self.changed_s if self.taken_changed_s is None else self.taken_changed_s

    def take(self) -> None:
        """A snapshot of everything learnt so far is being taken."""
        self.snapshot.begin()
        if self.taken_changed_s is None:
            self.taken_changed_s = self.changed_s
        self.changed_s = None


class PairSide:
    """Decides what is learnt, published and committed for the pairs topic."""

    def __init__(self, stage: PairStage, pace: Pace, cpu_s: Callable[[], float]) -> None:
        """``cpu_s`` returns the CPU seconds that this thread has used."""
        self._stage = stage
        self._pace = pace
        self._cpu_s = cpu_s
        self._assignment = 0
        self._models: dict[str, _Model] = {}
        self._positions = Positions()
        self._in_flight = InFlight()
        self.pairs_learnt = 0
        """Number of pairs learnt since the start."""
        self.updates = 0
        """Number of batches that changed a model since the start."""

    @property
    def positions(self) -> Positions:
        """How far was read, and what may be committed."""
        return self._positions

    @property
    def waiting_bytes(self) -> int:
        """Size of the messages that wait for the writer of their model."""
        return sum(model.waiting_bytes for model in self._models.values())

    @property
    def first_waiting(self) -> dict[int, StoredMessage]:
        """Partition to the first message that waits for the writer of its model."""
        return first_of_each(message for model in self._models.values() for message, _ in model.waiting)

    def unpublished_s(self, now_s: float) -> dict[str, float]:
        """Model to the age of its oldest update that no published snapshot contains; 0 if there is none."""
        return {
            name: 0.0 if (since_s := model.unpublished_since_s) is None else max(0.0, now_s - since_s)
            for name, model in list(self._models.items())
        }

    def assigned(self, assignment: int) -> list[Effect]:
        """This worker owns the pairs now, from the group's committed offset on."""
        self._assignment = assignment
        return []

    def revoked(self) -> None:
        """Another worker owns the pairs, or they will be reassigned; models continue from their
        checkpoints."""
        self._assignment = 0
        self._models.clear()
        self._positions.clear()
        self._in_flight.clear()
        self._stage.forget()

    def read(self, assignment: int, messages: Sequence[StoredMessage], now_s: float) -> list[Effect]:
        """Handle messages, in the order of their partition."""
        if assignment != self._assignment:
            return []
        effects: list[Effect] = []
        fresh: dict[str, list[_Read]] = {}
        letters: list[tuple[StoredMessage, Outgoing]] = []
        for message in messages:
            if not self._positions.advance(message.partition, message.offset):
                continue
            decoded = self._stage.read(message)
            if decoded is None:
                continue
            if isinstance(decoded, Outgoing):
                letters.append((message, decoded))
                continue
            model = self._models.get(decoded.model)
            if model is None:
                model = self._models[decoded.model] = self._new_model(now_s)
                effects.append(Open(assignment, decoded.model))
            if message.partition not in model.held:
                model.held[message.partition] = message.offset
                self._positions.hold(message.partition, message.offset)
            if model.is_open:
                fresh.setdefault(decoded.model, []).append((message, decoded))
            else:
                model.waiting.append((message, decoded))
                model.waiting_bytes += len(message.value)
        for name, of_model in fresh.items():
            letters += self._learn(name, of_model, now_s)
        return effects + self._dead_letters(letters) + self._publications(now_s)

    def opened(self, assignment: int, model: str, recovery: Recovery, now_s: float) -> list[Effect]:
        """The answer to Open."""
        if assignment != self._assignment:
            return []
        self._stage.restore(model, recovery)
        state = self._models[model]
        state.is_open = True
        waiting, state.waiting, state.waiting_bytes = state.waiting, [], 0
        return self._dead_letters(self._learn(model, waiting, now_s)) + self._publications(now_s)

    def tick(self, now_s: float) -> list[Effect]:
        """Publish what is due by the clock."""
        return self._publications(now_s)

    def published(self, assignment: int, model: str, *, took_s: float, now_s: float) -> list[Effect]:
        """A snapshot is on Kafka; publishing it took ``took_s`` CPU seconds, in addition to taking it."""
        if assignment != self._assignment:
            return []
        state = self._models[model]
        state.is_publishing, state.taken_changed_s = False, None
        state.snapshot.end(state.begun_s, self._not_before(state, took_s, now_s))
        return self._publications(now_s)

    def saved(self, assignment: int, model: str, *, took_s: float, now_s: float) -> list[Effect]:
        """A checkpoint is on Kafka, with its snapshot: what it contains need not be learnt again.

        Saving it took ``took_s`` CPU seconds, in addition to taking it.
        """
        if assignment != self._assignment:
            return []
        state = self._models[model]
        state.is_publishing, state.taken_changed_s = False, None
        for kind in (state.snapshot, state.checkpoint):
            kind.end(state.begun_s, self._not_before(state, took_s, now_s))
        self._release(state.saving)
        return self._publications(now_s)

    def delivered(self, token: int) -> list[Effect]:
        """Kafka has all messages of this send."""
        for consequence in self._in_flight.acknowledge(token):
            consequence()
        return []

    def last_words(self) -> list[Effect]:
        """Checkpoints to save before the worker stops: one of each model that has learnt since its last.

        No model may be publishing.
        """
        return [e for name, model in self._models.items() for e in self._checkpoint(name, model)]

    def _learn(
        self, name: str, messages: Sequence[_Read], now_s: float
    ) -> list[tuple[StoredMessage, Outgoing]]:
        learnt = self._stage.learn(name, messages)
        model = self._models[name]
        self.pairs_learnt += learnt.pairs
        self.updates += learnt.changed
        if learnt.changed and model.changed_s is None:
            model.changed_s = now_s
        for kind in (model.snapshot, model.checkpoint):
            kind.pairs += learnt.pairs
            kind.changed |= learnt.changed
        if not model.checkpoint.changed:
            self._release(model.held)
        return learnt.dead_letters

    def _dead_letters(self, letters: Sequence[tuple[StoredMessage, Outgoing]]) -> list[Effect]:
        if not letters:
            return []
        for message, _ in letters:
            self._positions.hold(message.partition, message.offset)
        then = [partial(self._positions.release, m.partition, m.offset) for m, _ in letters]
        return [Send(self._in_flight.add(then), [letter for _, letter in letters])]

    def _publications(self, now_s: float) -> list[Effect]:
        effects: list[Effect] = []
        for name, model in self._models.items():
            if model.is_publishing:
                continue
            if model.checkpoint.now(now_s):
                effects += self._checkpoint(name, model)
            elif model.snapshot.now(now_s):
                effects += self._snapshot(name, model)
            if model.is_publishing:
                model.begun_s = now_s
        return effects

    def _snapshot(self, name: str, model: _Model) -> list[Effect]:
        before_s = self._cpu_s()
        model.take()
        snapshot = self._stage.take_snapshot(name)
        if snapshot is None:
            model.taken_changed_s = None
        model.took_s = self._cpu_s() - before_s
        model.is_publishing = snapshot is not None
        return [] if snapshot is None else [PublishSnapshot(self._assignment, name, snapshot)]

    def _checkpoint(self, name: str, model: _Model) -> list[Effect]:
        """Save a changed checkpoint, with the snapshot of the same state.

        So the serving snapshot is never older than the checkpoint.
        """
        if model.is_publishing or not model.checkpoint.changed:
            return []
        before_s = self._cpu_s()
        model.take()
        model.checkpoint.begin()
        model.is_publishing = True
        model.saving, model.held = model.held, {}
        snapshot, checkpoint = self._stage.take_snapshot(name), self._stage.checkpoint(name)
        model.took_s = self._cpu_s() - before_s
        return [SaveCheckpoint(self._assignment, name, checkpoint, snapshot)]

    def _release(self, places: _Places) -> None:
        for place in places.items():
            self._positions.release(*place)
        places.clear()

    def _not_before(self, model: _Model, took_s: float, now_s: float) -> float:
        pace = self._pace
        share = pace.share / 2.0 / len(self._models)
        interval_s = max(pace.least_interval_s, (model.took_s + took_s) / share)
        return max(model.begun_s + interval_s, now_s + pace.least_pause_s)

    def _new_model(self, now_s: float) -> _Model:
        pace = self._pace
        return _Model(
            _Due(pace.snapshot_every_pairs, pace.snapshot_every_s, now_s),
            _Due(pace.checkpoint_every_pairs, pace.checkpoint_every_s, now_s),
        )
