"""The lag of a worker, from what its delivery and its machines say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from aiokafka.errors import KafkaConnectionError

from streams.messages.stored import StoredMessage
from streams.metrics.lag import LagWatch
from streams.worker.batches import Batch, Delivery, Inbox, Limits
from streams.worker.lag_meter import LagMeter

TRACE = ("trace", 0)


def message(offset: int, stamp_ms: int = 0) -> StoredMessage:
    return StoredMessage(
        topic="trace", partition=0, offset=offset, timestamp_ms=stamp_ms, key=None, value=b"x"
    )


@dataclass
class HeldDelivery:
    """Gives what the test says; a rebalance may come while it asks for the ends."""

    read_to: int = 10
    end: int = 10
    waiting: dict[tuple[str, int], StoredMessage] = field(default_factory=dict)
    assignment: int = 1
    partitions: frozenset[tuple[str, int]] = frozenset({TRACE})
    error: Exception | None = None
    rebalances: bool = False

    def first_waiting(self) -> dict[tuple[str, int], StoredMessage]:
        return dict(self.waiting)

    async def progress(self) -> dict[tuple[str, int], tuple[int, int]]:
        if self.error is not None:
            raise self.error
        self.assignment += self.rebalances
        return {TRACE: (self.read_to, self.end)}


@dataclass
class Side:
    first_waiting: dict[int, StoredMessage] = field(default_factory=dict)


def measured(delivery: HeldDelivery, sides: Mapping[str, Side] | None = None) -> LagWatch:
    watch = LagWatch(wall_clock=lambda: 100.0)
    asyncio.run(LagMeter(watch, cast(Delivery, delivery), sides or {}).measure())
    return watch


def test_what_kafka_has_and_nobody_has_read_is_lag() -> None:
    assert measured(HeldDelivery(read_to=7, end=10)).lags[TRACE].messages == 3


def test_what_was_read_and_waits_for_its_agent_is_lag_with_its_age() -> None:
    lag = measured(HeldDelivery(waiting={TRACE: message(4, 90_000)})).lags[TRACE]
    assert (lag.messages, lag.seconds) == (6, 10.0)


def test_what_waits_in_a_machine_is_lag_too() -> None:
    delivery = HeldDelivery(waiting={TRACE: message(4)})
    assert measured(delivery, {"trace": Side({0: message(2)})}).lags[TRACE].messages == 8


def test_a_broker_that_does_not_answer_leaves_the_lag_unknown() -> None:
    watch = measured(HeldDelivery(error=KafkaConnectionError()))
    assert watch.unknown == {TRACE}
    assert dict(watch.lags) == {}


def test_what_was_measured_over_a_rebalance_counts_for_nothing() -> None:
    watch = measured(HeldDelivery(rebalances=True))
    assert dict(watch.lags) == {}
    assert watch.unknown == set()


def test_an_inbox_knows_the_first_message_of_each_partition_also_of_one_that_is_held() -> None:
    inbox = Inbox(Limits(), lambda: None)
    inbox.put(TRACE, [message(4), message(5)])
    inbox.put(("trace", 1), [message(9)])
    inbox.hold(TRACE)
    inbox.put(TRACE, [message(6)])
    assert {partition: first.offset for partition, first in inbox.first_of_each.items()} == {
        TRACE: 4,
        ("trace", 1): 9,
    }
    assert Batch(1, asyncio.run(inbox.take())).messages == [message(9)]
