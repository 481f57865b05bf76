"""The core as every job here calls it: messages in, messages out, by the trainer's own two processors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from streams.kafka.settings import Settings
from streams.messages.stored import Outgoing, StoredMessage
from trainers.online.learner import load_learner
from trainers.pairs.pairing import PairingRules
from trainers.processing.pair_processor import PairProcessor
from trainers.processing.trace_processor import TraceProcessor

SNAPSHOT_EVERY_S = 0.25
"""Less than the trainer's default of 1 s, since the wait for the last snapshot is part of the measurement."""


class Core:
    """Former and learner of one model, side by side, with the clock of its snapshots."""

    def __init__(self, settings: Settings) -> None:
        # Compiled code is loaded before the first message, as the trainer does.
        load_learner()
        rules = PairingRules()
        self._former = TraceProcessor(
            rules,
            trace_topic=settings.trace_topic,
            pairs_topic=settings.pairs_topic,
            dead_letters_topic=settings.dead_letters_topic,
        )
        self._learner = PairProcessor(
            rules.model,
            snapshots_topic=settings.snapshots_topic,
            dead_letters_topic=settings.dead_letters_topic,
        )
        self._learner.restore(None)
        self._next_snapshot_s = 0.0
        self._pairs_topic = settings.pairs_topic

    def form(self, messages: Iterable[StoredMessage]) -> list[Outgoing]:
        """What goes to the pairs topic for messages of the trace topic."""
        return [
            outgoing
            for message in messages
            for outgoing in self._former.on_message(message).outgoing
            if outgoing.topic == self._pairs_topic
        ]

    def learn(self, messages: Sequence[StoredMessage]) -> None:
        """Learn messages of the pairs topic, in their order."""
        self._learner.on_messages(messages)

    def state(self) -> dict[str, Any]:
        """All that recovery goes on from."""
        return self._learner.checkpoint().state

    def snapshot(self) -> Outgoing | None:
        """A snapshot of what was learnt since the last one."""
        return self._learner.take_snapshot()

    def due_snapshot(self) -> Outgoing | None:
        """A snapshot, where something was learnt and the last one is a quarter of a second old."""
        now = time.monotonic()
        if now < self._next_snapshot_s:
            return None
        self._next_snapshot_s = now + SNAPSHOT_EVERY_S
        return self._learner.take_snapshot()


def stored(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]] | None = None,
) -> StoredMessage:
    """A message as the core takes it."""
    return StoredMessage(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=0,
        key=key,
        value=value or b"",
        headers=tuple(headers or ()),
    )


def on_topic(outgoing: Sequence[Outgoing], first: int) -> list[StoredMessage]:
    """Messages as a topic with one partition would hold them, from the offset ``first`` on."""
    return [
        stored(message.topic, 0, offset, message.key, message.value, message.headers)
        for offset, message in enumerate(outgoing, start=first)
    ]
