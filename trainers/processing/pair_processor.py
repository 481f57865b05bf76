"""Messages of the pairs topic in, snapshots and checkpoints of a reward model out.

The worker, the offline replay and the tests call this; it knows nothing of Kafka clients, clocks or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streams.errors import BadInput
from streams.messages.checkpoints import Recovery
from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import Checkpoint, PairMessage, PreferencePair, RewardSnapshot, snapshot_key
from streams.messages.stored import Outgoing, StoredMessage
from streams.worker.stages import Learnt
from trainers.bradley_terry.estimators import Recipe
from trainers.online.learner import OnlineLearner
from trainers.other_version import reading_state_of
from trainers.pairs.pairing import PairingRules
from trainers.pairs.sequence import RunSequence
from trainers.processing.unusable import NO_FAULT_OF_A_MESSAGE, letter_for

_KEPT_MESSAGES, _KEPT_BYTES = 5_000, 8 << 20
"""Number of messages, and of their bytes, after which the learner's state is copied, so that a message that
it cannot learn can be undone."""

DecodedPair = tuple[StoredMessage, PairMessage]


class PairProcessor:
    """Turns values of the pairs topic into snapshots and checkpoints of one reward model.

    ``topic_ids`` maps topics to Kafka's ids, as far as known; snapshots and checkpoints state them.
    ``recipe`` is for a new model; one that continues from a checkpoint keeps its own.
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
        self._consumed: dict[str, dict[str, int]] = {}
        self._sequence = RunSequence()
        self._published_version = 0
        self._start_from(OnlineLearner(model, recipe))

    @property
    def consumed(self) -> Mapping[str, Mapping[str, int]]:
        """Topic to partition to the offset after the last message of this model."""
        return self._consumed

    @property
    def kept_bytes(self) -> int:
        """Bytes of messages that are kept to undo one that cannot be learnt."""
        return self._since_bytes

    @property
    def version(self) -> int:
        return self._learner.version

    def restore(self, checkpoint: Checkpoint | None, published: int = 0) -> None:
        """Continue from the newest checkpoint, or from nothing if there is none.

        Messages after it must be read again, and give the same versions. Nothing is published again up to
        ``published``, the version of the newest snapshot. If a topic's id differs from the checkpoint's, the
        topic was recreated: it is read from its beginning, and the checkpoint is the base of what follows.
        Raises BadInput if the checkpoint is from another learner than the recipe's, or from another version
        of TriBrain.
        """
        self._consumed, self._base, self._sequence = {}, "", RunSequence()
        learner = OnlineLearner(self._model, self._recipe)
        if checkpoint is not None:
            learner = OnlineLearner.from_state(self._model, checkpoint.state)
            self._check_recipe(learner.recipe, checkpoint.version)
            with reading_state_of(f"version {checkpoint.version} of model {self._model!r}"):
                self._sequence = RunSequence.from_state(checkpoint.state["runs"])
            self._consumed = {
                topic: dict(offsets)
                for topic, offsets in checkpoint.consumed.items()
                if not self._was_made_again(topic, checkpoint)
            }
            self._base = checkpoint.base if self._consumed else checkpoint.checksum
        self._start_from(learner)
        self._published_version = published

    def on_message(self, message: StoredMessage) -> list[Outgoing]:
        """``on_messages`` for one message."""
        return self.on_messages([message])

    def on_messages(self, messages: Sequence[StoredMessage]) -> list[Outgoing]:
        """Learn this model's messages, in order; unusable ones become dead letters."""
        letters: list[Outgoing] = []
        decoded: list[DecodedPair] = []
        for message in messages:
            try:
                decoded.append((message, decode_pair(message.value, message)))
            except NO_FAULT_OF_A_MESSAGE:
                raise
            except Exception as error:
                letters.append(letter_for(message, error, self._dead_letters_topic))
        return letters + [letter for _, letter in self.learn(decoded).dead_letters]

    def learn(self, messages: Sequence[DecodedPair]) -> Learnt:
        """Learn messages in order: those of this model that come after its stamp, once each.

        A message that raises becomes a dead letter, and leaves the model as if it had never come.
        """
        fresh, numbered = self._news_among(messages)
        if not fresh:
            return Learnt(0, changed=False)
        before = self._learner.version
        letters = []
        try:
            self._learner.on_messages([decoded for _, decoded in fresh], numbered)
            self._keep(message for message, _ in fresh)
        except NO_FAULT_OF_A_MESSAGE:
            raise
        except BadInput:  # raised before anything was learnt
            letters = self._learn_one_by_one(fresh, numbered)
        except Exception:
            self._go_back()
            self._start_from(self._learner)
            letters = self._learn_one_by_one(fresh, numbered)
        if len(self._since) >= _KEPT_MESSAGES or self._since_bytes >= _KEPT_BYTES:
            self._start_from(self._learner)
        pairs = sum([type(decoded) is PreferencePair for _, decoded in fresh])
        # A number that was taken is part of the state, even if the learner ignored the pair.
        changed = True in numbered or self._learner.version != before
        return Learnt(pairs, changed=changed, dead_letters=letters)

    def take_snapshot(self) -> Outgoing | None:
        """The served model, for the snapshots topic; None if the last one has all that was learnt."""
        if self._learner.version <= self._published_version:
            return None
        self._published_version = self._learner.version
        return Outgoing(self._snapshots_topic, snapshot_key(self._model).encode(), self.snapshot())

    def snapshot(self) -> bytes:
        """The served model as the value of a message on the snapshots topic."""
        return encode(self._served())

    def checkpoint(self) -> Checkpoint:
        """The state, still without its checksum; further learning does not change it."""
        snapshot = self._served()
        return Checkpoint(
            model=self._model,
            version=snapshot.version,
            snapshot=snapshot.checksum,
            consumed=snapshot.consumed,
            topic_ids=snapshot.topic_ids,
            base=snapshot.base,
            state={**self._learner.state(), "runs": self._sequence.state()},
        )

    def _news_among(self, messages: Sequence[DecodedPair]) -> tuple[list[DecodedPair], list[bool]]:
        """This model's messages after the stamp that are no repetitions, each with whether its headers prove
        that. Records offsets and headers."""
        fresh: list[DecodedPair] = []
        numbered: list[bool] = []
        for read in messages:
            message, decoded = read
            if decoded.model != self._model:
                continue
            offsets, partition = self._consumed.setdefault(message.topic, {}), str(message.partition)
            if message.offset < offsets.get(partition, 0):
                continue
            offsets[partition] = message.offset + 1
            if self._sequence.takes_message(message, decoded):
                fresh.append(read)
                numbered.append(message.tells_repetitions)
        return fresh, numbered

    def _start_from(self, learner: OnlineLearner) -> None:
        self._learner = learner
        self._copy: dict[str, Any] = learner.state()
        self._since: list[StoredMessage] = []
        """Messages learnt since the copy."""
        self._since_bytes = 0

    def _keep(self, messages: Iterable[StoredMessage]) -> None:
        for message in messages:
            self._since.append(message)
            self._since_bytes += len(message.value)
            for _, value in message.headers:
                self._since_bytes += len(value)

    def _learn_one_by_one(
        self, fresh: Sequence[DecodedPair], numbered: Sequence[bool]
    ) -> list[tuple[StoredMessage, Outgoing]]:
        """Learn all messages except those that raise. Returns these with their dead letters."""
        letters = []
        for (message, decoded), has_number in zip(fresh, numbered, strict=True):
            try:
                self._learner.on_messages([decoded], [has_number])
                self._keep([message])
            except NO_FAULT_OF_A_MESSAGE:
                raise
            except Exception as error:
                if not isinstance(error, BadInput):
                    self._go_back()
                letters.append(
                    (message, letter_for(message.without_number(), error, self._dead_letters_topic))
                )
        return letters

    def _go_back(self) -> None:
        self._learner = OnlineLearner.from_state(self._model, self._copy)
        self._learner.on_messages(
            [decode_pair(message.value, message) for message in self._since],
            [message.tells_repetitions for message in self._since],
        )

    def _served(self) -> RewardSnapshot:
        return self._learner.snapshot(self._consumed, self.topic_ids, self._base)

    def _check_recipe(self, own: Recipe, version: int) -> None:
        if self._recipe is not None and self._recipe.learner != own.learner:
            raise BadInput(
                f"model {self._model!r} is learnt by {own.learner} (version {version}), and cannot continue "
                f"with {self._recipe.learner}; leave --learner out, or give another --model"
            )

    def _was_made_again(self, topic: str, checkpoint: Checkpoint) -> bool:
        known, now = checkpoint.topic_ids.get(topic), self.topic_ids.get(topic)
        return known is not None and now is not None and known != now


class PairProcessors:
    """The pairs topic for all reward models that the rules can name, with one processor each."""

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

    def read(self, message: StoredMessage) -> PairMessage | Outgoing | None:
        """The decoded message, or a dead letter; None for a model of another trainer."""
        try:
            decoded = decode_pair(message.value, message)
        except NO_FAULT_OF_A_MESSAGE:
            raise
        except Exception as error:
            return letter_for(message, error, self._dead_letters_topic)
        return decoded if self._rules.learns(decoded.model) else None

    def restore(self, model: str, recovery: Recovery) -> None:
        """Continue a model as in ``PairProcessor.restore``."""
        processor = self._by_model[model] = PairProcessor(
            model,
            snapshots_topic=self._snapshots_topic,
            dead_letters_topic=self._dead_letters_topic,
            topic_ids=self._topic_ids,
            recipe=self._recipe,
        )
        processor.restore(recovery.checkpoint, recovery.published)

    def learn(self, model: str, messages: Sequence[DecodedPair]) -> Learnt:
        """Learn messages of a restored model."""
        return self._by_model[model].learn(messages)

    def take_snapshot(self, model: str) -> Outgoing | None:
        """Like ``PairProcessor.take_snapshot``, for this model."""
        return self._by_model[model].take_snapshot()

    def checkpoint(self, model: str) -> Checkpoint:
        """Like ``PairProcessor.checkpoint``, for this model."""
        return self._by_model[model].checkpoint()

    @property
    def kept_bytes(self) -> int:
        """Like ``PairProcessor.kept_bytes``, summed over all models."""
        return sum(processor.kept_bytes for processor in list(self._by_model.values()))

    def forget(self) -> None:
        """The partitions were revoked: the next owner restores from the newest checkpoints."""
        self._by_model.clear()
