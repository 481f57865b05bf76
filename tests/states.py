"""Learners' states as they travel, and what a snapshots topic holds of them."""

from __future__ import annotations

from collections.abc import Sequence

from streams.messages.checkpoints import (
    base_message,
    checkpoint_message,
    decode_checkpoint,
    encode_checkpoint,
)
from streams.messages.codec import encode, sealed
from streams.messages.contracts import Checkpoint, RewardSnapshot, snapshot_key
from streams.messages.held import Held, held_of
from streams.messages.stored import Outgoing, StoredMessage
from trainers.online.learner import OnlineLearner
from trainers.pairs.seen import REMEMBERED


def checkpoint_of(learner: OnlineLearner) -> Checkpoint:
    """The state of a learner that has read no topic."""
    snapshot = learner.snapshot()
    return sealed(
        Checkpoint(
            model=learner.model,
            version=learner.version,
            snapshot=snapshot.checksum,
            state=learner.state(),
        )
    )


def read_back(learner: OnlineLearner, *, remembered: int = REMEMBERED) -> OnlineLearner:
    """The learner, made again from its state as it stands on the topic."""
    stored = decode_checkpoint(encode_checkpoint(checkpoint_of(learner)), "test")
    return OnlineLearner.from_state(stored.model, stored.state, remembered=remembered)


def held(
    *published: RewardSnapshot | Checkpoint, bases: Sequence[Checkpoint] = (), model: str = "default"
) -> Held:
    """What a topic holds of the model on which these were published in this order, behind the bases."""
    outgoing = [base_message(base, "snapshots") for base in bases]
    for each in published:
        if isinstance(each, Checkpoint):
            outgoing.append(checkpoint_message(each, "snapshots"))
        else:
            outgoing.append(Outgoing("snapshots", snapshot_key(each.model).encode(), encode(each)))
    messages = [
        StoredMessage(topic=m.topic, partition=0, offset=n, timestamp_ms=0, key=m.key, value=m.value)
        for n, m in enumerate(outgoing)
    ]
    return held_of(messages).get(model, Held())
