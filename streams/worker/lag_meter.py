"""A worker's lag: the messages on Kafka that its agents and state machines have not handled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiokafka.errors import KafkaError

from streams.messages.stored import StoredMessage
from streams.metrics.lag import LagWatch, Reading
from streams.worker.batches import Delivery, Partition

_ANSWER_S = 5.0


class Waiting(Protocol):
    """A state machine that may hold waiting messages in memory."""

    @property
    def first_waiting(self) -> dict[int, StoredMessage]:
        """Partition to the first message that was read but not handled."""


class LagMeter:
    """Reports each partition's lag to ``watch``; ``sides`` maps a topic to the state machine that handles
    it."""

    def __init__(self, watch: LagWatch, delivery: Delivery, sides: Mapping[str, Waiting]) -> None:
        self._watch, self._delivery, self._sides = watch, delivery, sides
        self._assignment = 0

    async def measure(self) -> None:
        """Call this every few seconds while partitions are owned."""
        delivery = self._delivery
        assignment, of = delivery.assignment, delivery.partitions
        if assignment != self._assignment:
            self._assignment = assignment
            self._watch.forget()
        # Nothing else runs between this call and the positions that ``progress`` takes at its start.
        first = self._first_unhandled()
        try:
            async with asyncio.timeout(_ANSWER_S):
                progress = await delivery.progress()
        except (KafkaError, TimeoutError):
            progress = {}
        if assignment != delivery.assignment:
            return
        readings = {}
        for partition, (position, end) in progress.items():
            message = first.get(partition)
            readings[partition] = (
                Reading(position, end)
                if message is None
                else Reading(message.offset, max(end, position), message.timestamp_ms)
            )
        self._watch.measured(readings, of)

    def _first_unhandled(self) -> dict[Partition, StoredMessage]:
        first = self._delivery.first_waiting()
        for topic, side in self._sides.items():
            for number, message in side.first_waiting.items():
                held = first.get((topic, number))
                if held is None or message.offset < held.offset:
                    first[topic, number] = message
        return first
