"""What reaches an agent, and what is committed: batches of stored messages instead of Faust's single events.

Faust runs four asyncio tasks, an event and an acknowledgement for each message, and keeps every message in
memory that lies behind an unacknowledged one. Here a batch is all that waits, nothing is tracked in Faust,
and the worker commits the offsets that it says::

    app = faust.App(...)
    delivery = deliver(app, on_assigned=core.assigned, on_revoked=core.revoked)   # before app.start()

    @app.agent(raw_topic(app, settings.trace_topic))
    async def former(stream):
        async for batch in delivery.batches(stream):
            if batch.assignment == delivery.assignment:    # may have changed in an await of this loop
                sends, ... = core.on_trace(batch.messages)

    await delivery.commit(batch.assignment, {("tribrain.trace", 0): 4128})

``on_assigned`` and ``on_revoked`` are called in the worker's event loop, between two steps of every agent. A
batch that was read before a rebalance is never given after it, and one that the worker still holds then has
an ``assignment`` other than ``delivery.assignment``. Kafka takes no commit for it either.

The fast way knows the internals of one version of Faust and of aiokafka (``streams.worker.batch_delivery``).
With any other the same interface is a loop over Faust's events, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import faust

from streams.worker.batch_delivery import BatchDelivery, strange_version
from streams.worker.batches import Batch, BrokerAway, Delivery, Limits, Partition, Revoked
from streams.worker.event_delivery import EventDelivery

__all__ = [
    "Batch",
    "BrokerAway",
    "Delivery",
    "Limits",
    "Partition",
    "Revoked",
    "deliver",
    "raw_topic",
]

log = logging.getLogger(__name__)


def deliver(
    app: faust.App,
    *,
    on_assigned: Callable[[int, frozenset[Partition]], None],
    on_revoked: Callable[[], None],
    limits: Limits | None = None,
) -> Delivery:
    """Set up the delivery of an app that is not started yet.

    ``on_assigned(assignment, partitions)`` comes before the first message of an assignment. ``on_revoked()``
    comes before another worker can own what was taken away; every rebalance takes all partitions.
    """
    limits = limits or Limits()
    strange = strange_version()
    if strange is None:
        return BatchDelivery(app, on_assigned, on_revoked, limits)
    log.warning("%s: messages come one at a time, at several times the cost", strange)
    return EventDelivery(app, on_assigned, on_revoked, limits)


def raw_topic(app: faust.App, name: str) -> Any:
    """A topic whose keys and values stay bytes."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
