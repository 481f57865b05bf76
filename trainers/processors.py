"""What happens to a message of a topic: bytes in, messages out, and how far it is safe to forget.

The Faust agents, the offline replay and the tests call these; nothing here knows of Kafka clients, clocks
or files. What cannot be used becomes a dead letter with its bytes and the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streams.errors import BadInput
from streams.messages.codec import ContractError, decode_pair, decode_trace, encode
from streams.messages.contracts import PairMessage, PreferencePair, RewardSnapshot, RunClosed
from streams.messages.dead_letters import dead_letter
from streams.messages.stored import Outgoing, StoredMessage
from trainers.estimators import Recipe
from trainers.former import Formed, LateEvent, PairFormer
from trainers.learner import PreferenceLearner
from trainers.pairing import PairingRules

log = logging.getLogger(__name__)


class TraceProcessor:
    """Values of the trace topic to messages of the pairs topic, keyed by the reward model's name.

    ``partitions`` is how many partitions the trace topic has. Where it is set, an event in another partition
    than its run's (it was written before partitions were added, or by a client with another partitioner)
    is forwarded there, so that one former sees the whole run. Who reads all partitions needs no forwarding
    and leaves it None.
    """

    def __init__(
        self, rules: PairingRules, *, trace_topic: str, pairs_topic: str, dead_letters_topic: str
    ) -> None:
        self._former = PairFormer(rules)
        self._trace_topic = trace_topic
        self._pairs_topic = pairs_topic
        self._dead_letters_topic = dead_letters_topic
        self._first_offsets: dict[int, dict[str, int]] = {}
        self._without_beginning: dict[str, list[StoredMessage]] = {}
        self.partitions: int | None = None

    def on_message(self, message: StoredMessage) -> list[Outgoing]:
        """The pairs that this event completes, or a dead letter, or the event for its own partition."""
        try:
            event = decode_trace(message.value, message.source)
            run_id = event.run_id
            if self._home(run_id) not in (None, message.partition):
                return [self._to_run(run_id, message.value)]
            formed = self._former.on_event(event)
        except ContractError as error:
            return [dead_letter_of(message, str(error), self._dead_letters_topic)]
        except LateEvent as error:
            return [self._cannot_use(message, str(error))]
        self._note(run_id, message)
        return [self._outgoing(made) for made in formed]

    def on_tick(self, elapsed_s: float, timeout_s: float) -> list[Outgoing]:
        """End what was silent for ``timeout_s`` seconds; ``elapsed_s`` went by with nothing left unread.

        A run that has its beginning is ended by an event on its topic, so that a replay ends it there too.
        One that has not cannot be used: its messages become dead letters.
        """
        ends, given_up = self._former.on_tick(elapsed_s, timeout_s)
        outgoing = [self._to_run(end.run_id, encode(end)) for end in ends]
        for run_id in given_up:
            reason = f"the beginning of run {run_id!r} did not come within {timeout_s:g} s"
            outgoing += [self._cannot_use(m, reason) for m in self._without_beginning.get(run_id, ())]
            self._drop(run_id)
        return outgoing

    def resume_offset(self, partition: int) -> int | None:
        """The first offset of the partition's oldest open run; None where every run is closed."""
        return min(self._first_offsets.get(partition, {}).values(), default=None)

    def forget(self) -> None:
        """The partitions were taken away: whoever owns them next reads the open runs again."""
        self._former.forget()
        self._first_offsets.clear()
        self._without_beginning.clear()
        self.partitions = None

    def _note(self, run_id: str, message: StoredMessage) -> None:
        """Where an open run begins in its partition, and what waits for the beginning."""
        if not self._former.is_open(run_id):
            self._drop(run_id)
            return
        first_offsets = self._first_offsets.setdefault(message.partition, {})
        first_offsets[run_id] = min(first_offsets.get(run_id, message.offset), message.offset)
        if self._former.has_begun(run_id):
            self._without_beginning.pop(run_id, None)
        else:
            self._without_beginning.setdefault(run_id, []).append(message)

    def _drop(self, run_id: str) -> None:
        self._without_beginning.pop(run_id, None)
        for first_offsets in self._first_offsets.values():
            first_offsets.pop(run_id, None)

    def _home(self, run_id: str) -> int | None:
        if not self.partitions:
            return None
        # Not at the top: a replay of files needs no client of Kafka.
        from streams.kafka.partitions import partition_of

        return partition_of(run_id.encode(), self.partitions)

    def _to_run(self, run_id: str, value: bytes) -> Outgoing:
        return Outgoing(self._trace_topic, run_id.encode(), value, partition=self._home(run_id))

    def _outgoing(self, made: Formed) -> Outgoing:
        if isinstance(made, RunClosed):
            return self._to_run(made.run_id, encode(made))
        return Outgoing(self._pairs_topic, made.model.encode(), encode(made))

    def _cannot_use(self, message: StoredMessage, reason: str) -> Outgoing:
        return dead_letter_of(message, f"{message.source}: {reason}", self._dead_letters_topic)


class PairProcessor:
    """Values of the pairs topic to the snapshots of one reward model; a snapshot is the checkpoint, too.

    ``topic_ids`` is topic to the id that Kafka gave it, as far as known; snapshots are stamped with it.
    ``recipe`` is for a model that begins; one that goes on from a snapshot keeps its own.
    """

    def __init__(
        self,
        model: str,
        *,
        snapshots_topic: str,
        dead_letters_topic: str,
        topic_ids: Mapping[str, str] | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        self._recipe = recipe
        self._model = model
        self._snapshots_topic = snapshots_topic
        self._dead_letters_topic = dead_letters_topic
        self.topic_ids = dict(topic_ids or {})
        self._base = ""
        self._learner = PreferenceLearner(model, recipe)
        self._consumed: dict[str, dict[str, int]] = {}
        self._published_version = 0
        self.pairs_since_snapshot = 0

    @property
    def consumed(self) -> Mapping[str, Mapping[str, int]]:
        """Topic to partition to the offset behind the last message of this model."""
        return self._consumed

    @property
    def version(self) -> int:
        return self._learner.version

    def restore(self, snapshot: RewardSnapshot | None) -> None:
        """Continue from the newest snapshot, or from nothing where there is none.

        A topic that has another id than the snapshot's was made again: it is read from its beginning, and
        the snapshot is the base of what follows. Raises BadInput for a snapshot of another learner than the
        recipe's.
        """
        if snapshot is None:
            self._learner = PreferenceLearner(self._model, self._recipe)
        else:
            self._learner = PreferenceLearner.from_snapshot(snapshot)
            self._check_recipe(snapshot)
        self._consumed, self._base = {}, ""
        if snapshot is not None:
            self._consumed = {
                topic: dict(offsets)
                for topic, offsets in snapshot.consumed.items()
                if not self._was_made_again(topic, snapshot)
            }
            self._base = snapshot.base if self._consumed else snapshot.checksum
        self._published_version = self._learner.version
        self.pairs_since_snapshot = 0

    def on_message(self, message: StoredMessage) -> list[Outgoing]:
        """Learn a message if it is this model's; one that cannot be read becomes a dead letter."""
        try:
            self.learn(message, decode_pair(message.value, message.source))
        except ContractError as error:
            return [dead_letter_of(message, str(error), self._dead_letters_topic)]
        return []

    def learn(self, message: StoredMessage, decoded: PairMessage) -> None:
        """Learn a message that is decoded; what lies before the restored snapshot's stamp is passed over."""
        if decoded.model != self._model:
            return
        offsets = self._consumed.setdefault(message.topic, {})
        partition = str(message.partition)
        if message.offset < offsets.get(partition, 0):
            return
        offsets[partition] = message.offset + 1
        if self._learner.on_message(decoded) and isinstance(decoded, PreferencePair):
            self.pairs_since_snapshot += 1

    def take_snapshot(self) -> Outgoing | None:
        """The state as a message on the snapshots topic; None where nothing was learnt since the last."""
        if self._learner.version == self._published_version:
            return None
        self._published_version = self._learner.version
        self.pairs_since_snapshot = 0
        return Outgoing(self._snapshots_topic, self._model.encode(), self.snapshot())

    def snapshot(self) -> bytes:
        """The state as the value of a message on the snapshots topic."""
        return encode(self._learner.snapshot(self._consumed, self.topic_ids, self._base))

    def _check_recipe(self, snapshot: RewardSnapshot) -> None:
        own = self._learner.recipe.learner
        if self._recipe is not None and self._recipe.learner != own:
            raise BadInput(
                f"model {self._model!r} is learnt by {own} (version {snapshot.version}), and cannot go on "
                f"with {self._recipe.learner}; leave --learner out, or give another --model"
            )

    def _was_made_again(self, topic: str, snapshot: RewardSnapshot) -> bool:
        known, now = snapshot.topic_ids.get(topic), self.topic_ids.get(topic)
        return known is not None and now is not None and known != now


class PairProcessors:
    """The pairs topic of all reward models that the rules can name, side by side, one processor each."""

    def __init__(
        self,
        rules: PairingRules,
        *,
        snapshots_topic: str,
        dead_letters_topic: str,
        topic_ids: Mapping[str, str],
        recipe: Recipe | None = None,
    ) -> None:
        self._recipe = recipe
        self._rules = rules
        self._snapshots_topic = snapshots_topic
        self._dead_letters_topic = dead_letters_topic
        self._topic_ids = topic_ids
        self._by_model: dict[str, PairProcessor] = {}

    @property
    def pairs_since_snapshot(self) -> int:
        """The most that any model has learnt since its last snapshot."""
        return max((p.pairs_since_snapshot for p in self._by_model.values()), default=0)

    def read(self, message: StoredMessage) -> PairMessage | Outgoing | None:
        """The message decoded, or a dead letter; None for a model that is another trainer's."""
        try:
            decoded = decode_pair(message.value, message.source)
        except ContractError as error:
            return dead_letter_of(message, str(error), self._dead_letters_topic)
        return decoded if self._rules.learns(decoded.model) else None

    def is_restored(self, model: str) -> bool:
        """Whether ``restore`` was called for the model since the start or the last ``forget``."""
        return model in self._by_model

    def restore(self, model: str, snapshot: RewardSnapshot | None) -> None:
        """Continue a model from its newest snapshot, or from nothing where there is none."""
        processor = self._by_model[model] = PairProcessor(
            model,
            snapshots_topic=self._snapshots_topic,
            dead_letters_topic=self._dead_letters_topic,
            topic_ids=self._topic_ids,
            recipe=self._recipe,
        )
        processor.restore(snapshot)

    def learn(self, message: StoredMessage, decoded: PairMessage) -> None:
        """Learn a message of a model that is restored."""
        self._by_model[decoded.model].learn(message, decoded)

    def take_snapshots(self) -> list[tuple[str, Outgoing]]:
        """Model and message, for every model that has learnt since its last snapshot."""
        return [
            (model, snapshot)
            for model, processor in self._by_model.items()
            if (snapshot := processor.take_snapshot()) is not None
        ]

    def forget(self) -> None:
        """The partitions were taken away: the next owner restores from the newest snapshots."""
        self._by_model.clear()


def dead_letter_of(message: StoredMessage, reason: str, topic: str) -> Outgoing:
    """The dead letter of a message, with a line in the log."""
    log.warning("dead letter: %s", reason)
    return dead_letter(message, reason, topic)
