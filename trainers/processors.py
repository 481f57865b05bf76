"""What happens to a message of a topic: bytes in, messages out, and how far it is safe to forget.

The Faust agents, the offline replay and the tests call these; nothing here knows of Kafka clients, clocks
or files. What cannot be used becomes a dead letter with its bytes and the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streams.errors import BadInput
from streams.messages.codec import ContractError, decode_pair, decode_trace, encode
from streams.messages.contracts import (
    Checkpoint,
    PairMessage,
    PreferencePair,
    RewardSnapshot,
    RunClosed,
    snapshot_key,
)
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
    """Values of the pairs topic to the snapshots and checkpoints of one reward model.

    ``topic_ids`` is topic to the id that Kafka gave it, as far as known; both are stamped with it.
    ``recipe`` is for a model that begins; one that goes on from a checkpoint keeps its own.
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
        self._kept_version = 0
        self.pairs_since_snapshot = 0

    @property
    def consumed(self) -> Mapping[str, Mapping[str, int]]:
        """Topic to partition to the offset behind the last message of this model."""
        return self._consumed

    @property
    def version(self) -> int:
        return self._learner.version

    def restore(self, checkpoint: Checkpoint | None, published: int = 0) -> None:
        """Continue from the newest checkpoint, or from nothing where there is none.

        What was learnt behind it is to be read again, and comes to the same versions: up to ``published``,
        the version of the newest snapshot, nothing is published again. A topic that has another id than the
        checkpoint's was made again: it is read from its beginning, and the checkpoint is the base of what
        follows. Raises BadInput for the checkpoint of another learner than the recipe's, or of another
        version of TriBrain.
        """
        self._consumed, self._base = {}, ""
        if checkpoint is None:
            self._learner = PreferenceLearner(self._model, self._recipe)
        else:
            self._learner = PreferenceLearner.from_state(self._model, checkpoint.state)
            self._check_recipe(checkpoint.version)
            self._consumed = {
                topic: dict(offsets)
                for topic, offsets in checkpoint.consumed.items()
                if not self._was_made_again(topic, checkpoint)
            }
            self._base = checkpoint.base if self._consumed else checkpoint.checksum
        self._kept_version = self._learner.version
        self._published_version = max(published, self._learner.version)
        self.pairs_since_snapshot = 0

    def on_message(self, message: StoredMessage) -> list[Outgoing]:
        """Learn a message if it is this model's; one that cannot be read becomes a dead letter."""
        try:
            self.learn(message, decode_pair(message.value, message.source))
        except BadInput as error:
            return [dead_letter_of(message, str(error), self._dead_letters_topic)]
        return []

    def learn(self, message: StoredMessage, decoded: PairMessage) -> None:
        """Learn a message that is decoded; what lies before the restored checkpoint's stamp is passed over.

        Raises BadInput for a rollback to what cannot be continued; the learner is then as it was before.
        """
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
        """What is served, for the snapshots topic; None where it holds all that was learnt."""
        if self._learner.version <= self._published_version:
            return None
        self._published_version = self._learner.version
        self.pairs_since_snapshot = 0
        return Outgoing(self._snapshots_topic, snapshot_key(self._model).encode(), self.snapshot())

    def take_checkpoint(self) -> Checkpoint | None:
        """The state of now, for ``checkpoint_message``; None where nothing was learnt since the last one."""
        if self._learner.version == self._kept_version:
            return None
        self._kept_version = self._learner.version
        return self.checkpoint()

    def snapshot(self) -> bytes:
        """What is served, as the value of a message on the snapshots topic."""
        return encode(self._served())

    def checkpoint(self) -> Checkpoint:
        """The state, still without its checksum; learning on does not change it."""
        snapshot = self._served()
        return Checkpoint(
            model=self._model,
            version=snapshot.version,
            snapshot=snapshot.checksum,
            consumed=snapshot.consumed,
            topic_ids=snapshot.topic_ids,
            base=snapshot.base,
            state=self._learner.state(),
        )

    def _served(self) -> RewardSnapshot:
        return self._learner.snapshot(self._consumed, self.topic_ids, self._base)

    def _check_recipe(self, version: int) -> None:
        own = self._learner.recipe.learner
        if self._recipe is not None and self._recipe.learner != own:
            raise BadInput(
                f"model {self._model!r} is learnt by {own} (version {version}), and cannot go on "
                f"with {self._recipe.learner}; leave --learner out, or give another --model"
            )

    def _was_made_again(self, topic: str, checkpoint: Checkpoint) -> bool:
        known, now = checkpoint.topic_ids.get(topic), self.topic_ids.get(topic)
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

    def restore(self, model: str, checkpoint: Checkpoint | None, published: int = 0) -> None:
        """Continue a model as ``PairProcessor.restore`` does."""
        processor = self._by_model[model] = PairProcessor(
            model,
            snapshots_topic=self._snapshots_topic,
            dead_letters_topic=self._dead_letters_topic,
            topic_ids=self._topic_ids,
            recipe=self._recipe,
        )
        processor.restore(checkpoint, published)

    def learn(self, message: StoredMessage, decoded: PairMessage) -> None:
        """Learn a message of a model that is restored. Raises BadInput as ``PairProcessor.learn``."""
        self._by_model[decoded.model].learn(message, decoded)

    def take_snapshots(self) -> list[tuple[str, Outgoing]]:
        """Model and message, for every model that has learnt since its last snapshot."""
        return [
            (model, snapshot)
            for model, processor in self._by_model.items()
            if (snapshot := processor.take_snapshot()) is not None
        ]

    def take_checkpoints(self) -> list[tuple[str, Checkpoint]]:
        """Model and state, for every model that has learnt since its last checkpoint."""
        return [
            (model, checkpoint)
            for model, processor in self._by_model.items()
            if (checkpoint := processor.take_checkpoint()) is not None
        ]

    def forget(self) -> None:
        """The partitions were taken away: the next owner restores from the newest checkpoints."""
        self._by_model.clear()


def dead_letter_of(message: StoredMessage, reason: str, topic: str) -> Outgoing:
    """The dead letter of a message, with a line in the log."""
    log.warning("dead letter: %s", reason)
    return dead_letter(message, reason, topic)
