"""What happens to a message of a topic: bytes in, messages out, and how far it is safe to forget.

The Faust agents, the offline replay and the tests call these; nothing here knows of Kafka clients, clocks
or files. What cannot be used becomes a dead letter with its bytes and the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streams.codec import ContractError, decode_pair, decode_trace, encode
from streams.contracts import PreferencePair, RewardSnapshot
from streams.dead_letters import dead_letter
from streams.messages import Outgoing, StoredMessage
from trainers.former import PairFormer
from trainers.learner import PreferenceLearner
from trainers.pairing import PairingRules

log = logging.getLogger(__name__)


class TraceProcessor:
    """Values of the trace topic to messages of the pairs topic, keyed by the reward model's name."""

    def __init__(self, rules: PairingRules, *, pairs_topic: str, dead_letters_topic: str) -> None:
        self._former = PairFormer(rules)
        self._key = rules.model.encode()
        self._pairs_topic = pairs_topic
        self._dead_letters_topic = dead_letters_topic
        self._first_offsets: dict[int, dict[str, int]] = {}

    def on_message(self, message: StoredMessage) -> list[Outgoing]:
        """The pairs that this event completes, or a dead letter."""
        try:
            event = decode_trace(message.value, message.source)
        except ContractError as error:
            log.warning("dead letter: %s", error)
            return [dead_letter(message, str(error), self._dead_letters_topic)]
        formed = self._former.on_event(event)
        if self._former.is_open(event.run_id):
            first_offsets = self._first_offsets.setdefault(message.partition, {})
            known = first_offsets.get(event.run_id, message.offset)
            first_offsets[event.run_id] = min(known, message.offset)
        else:  # its events may lie in two partitions, where some were added in the middle of it
            for first_offsets in self._first_offsets.values():
                first_offsets.pop(event.run_id, None)
        return [Outgoing(self._pairs_topic, self._key, encode(message)) for message in formed]

    def resume_offset(self, partition: int) -> int | None:
        """The first offset of the partition's oldest open run; None where every run is closed."""
        return min(self._first_offsets.get(partition, {}).values(), default=None)

    def forget(self) -> None:
        """The partitions were taken away: whoever owns them next reads the open runs again."""
        self._former.forget()
        self._first_offsets.clear()


class PairProcessor:
    """Values of the pairs topic to reward snapshots; a snapshot is the checkpoint, too."""

    def __init__(self, model: str, *, snapshots_topic: str, dead_letters_topic: str) -> None:
        self._model = model
        self._snapshots_topic = snapshots_topic
        self._dead_letters_topic = dead_letters_topic
        self._learner: PreferenceLearner | None = None
        self._consumed: dict[str, dict[str, int]] = {}
        self._published_version = 0
        self.pairs_since_snapshot = 0

    @property
    def consumed(self) -> Mapping[str, Mapping[str, int]]:
        """Topic to partition to next offset."""
        return self._consumed

    @property
    def restored(self) -> bool:
        """Whether ``restore`` was called since the start or the last ``forget``."""
        return self._learner is not None

    def restore(self, snapshot: RewardSnapshot | None) -> None:
        """Continue from the newest snapshot, or from nothing where there is none."""
        self._learner = (
            PreferenceLearner.from_snapshot(snapshot) if snapshot else PreferenceLearner(self._model)
        )
        consumed: Mapping[str, Mapping[str, int]] = snapshot.consumed if snapshot else {}
        self._consumed = {topic: dict(offsets) for topic, offsets in consumed.items()}
        self._published_version = self._learner.version
        self.pairs_since_snapshot = 0

    def on_message(self, message: StoredMessage) -> list[Outgoing]:
        """Learn one message; what lies before the restored snapshot's stamp is passed over."""
        offsets = self._consumed.setdefault(message.topic, {})
        partition = str(message.partition)
        if message.offset < offsets.get(partition, 0):
            return []
        offsets[partition] = message.offset + 1
        try:
            pair = decode_pair(message.value, message.source)
        except ContractError as error:
            log.warning("dead letter: %s", error)
            return [dead_letter(message, str(error), self._dead_letters_topic)]
        if self._require_learner().on_message(pair) and isinstance(pair, PreferencePair):
            self.pairs_since_snapshot += 1
        return []

    def take_snapshot(self) -> Outgoing | None:
        """The state as a message on the snapshots topic; None where nothing was learnt since the last."""
        if self._learner is None or self._learner.version == self._published_version:
            return None
        self._published_version = self._learner.version
        self.pairs_since_snapshot = 0
        return Outgoing(self._snapshots_topic, self._model.encode(), self.snapshot())

    def snapshot(self) -> bytes:
        """The state as the value of a message on the snapshots topic."""
        return encode(self._require_learner().snapshot(self._consumed))

    def forget(self) -> None:
        """The partition was taken away: the next owner restores from the newest snapshot."""
        self._learner = None
        self._consumed = {}

    def _require_learner(self) -> PreferenceLearner:
        if self._learner is None:
            raise RuntimeError("restore() comes before the first message")
        return self._learner
