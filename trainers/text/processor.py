"""Values of the pairs topic to the text snapshots of one model; a snapshot is also the checkpoint.

A message that is not a pair is skipped: the trainer, which reads the same topic, makes a dead letter of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streams.messages.codec import ContractError, decode_pair, encode
from streams.messages.contracts import TextSnapshot, snapshot_key
from streams.messages.stored import Outgoing, StoredMessage
from trainers.other_version import reading_state_of
from trainers.pairs.sequence import RunSequence
from trainers.text.learner import TextLearner

log = logging.getLogger(__name__)

_REMEMBERED_RUNS = 20_000
"""Number of closed runs that are recognised when they come again; each snapshot carries them."""


class TextProcessor:
    """The text learner with the offsets up to which it has read.

    ``topic_ids`` maps topics to Kafka's ids, as far as known; snapshots state them.
    """

    def __init__(
        self, model: str, *, snapshots_topic: str, topic_ids: Mapping[str, str] | None = None
    ) -> None:
        self._snapshots_topic = snapshots_topic
        self.topic_ids = dict(topic_ids or {})
        self._learner = TextLearner(model)
        self._sequence = RunSequence(_REMEMBERED_RUNS)
        self._consumed: dict[str, dict[str, int]] = {}
        self._published_version = 0

    @property
    def consumed(self) -> Mapping[str, Mapping[str, int]]:
        """Topic to partition to the offset after the last message of this model."""
        return self._consumed

    @property
    def model(self) -> str:
        """The reward model's name."""
        return self._learner.model

    @property
    def version(self) -> int:
        """The model's version: the number of pairs learnt."""
        return self._learner.version

    @property
    def waiting(self) -> int:
        """Pairs of open runs that wait to be learnt."""
        return self._learner.waiting

    @property
    def pairs_since_snapshot(self) -> int:
        return self._learner.version - self._published_version

    def restore(self, snapshot: TextSnapshot) -> None:
        """Continue from a snapshot. Its topics must be the current ones: their offsets are reused.

        Raises BadInput for the state of another version of TriBrain.
        """
        self._learner = TextLearner.from_snapshot(snapshot)
        with reading_state_of(f"version {snapshot.version} of text model {snapshot.model!r}"):
            self._sequence = RunSequence.from_state(snapshot.learner["runs"], _REMEMBERED_RUNS)
        self._consumed = {topic: dict(offsets) for topic, offsets in snapshot.consumed.items()}
        self._published_version = self._learner.version

    def on_message(self, message: StoredMessage) -> None:
        """Take a message if it is this model's; skips what comes before the restored stamp."""
        try:
            pair = decode_pair(message.value, message.source)
        except ContractError as error:
            log.warning("passed over: %s", error)
            return
        if pair.model != self._learner.model:
            return
        offsets = self._consumed.setdefault(message.topic, {})
        partition = str(message.partition)
        if message.offset < offsets.get(partition, 0):
            return
        offsets[partition] = message.offset + 1
        if self._sequence.takes_message(message, pair):
            self._learner.on_message(pair)

    def take_snapshot(self) -> Outgoing | None:
        """The state as a message on the snapshots topic; None if nothing was learnt since the last."""
        if not self.pairs_since_snapshot:
            return None
        self._published_version = self._learner.version
        key = snapshot_key(self._learner.model, TextSnapshot.KIND).encode()
        return Outgoing(self._snapshots_topic, key, self.snapshot())

    def snapshot(self) -> bytes:
        """The state as the value of a message on the snapshots topic."""
        return encode(self._learner.snapshot(self._consumed, self.topic_ids, self._sequence.state()))
