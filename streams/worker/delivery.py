"""Delivers batches of stored messages to agents, instead of Faust's single events, and commits offsets.

For each message Faust runs four asyncio tasks, an event and an acknowledgement, and it keeps every message
behind an unacknowledged one in memory. Here only batches wait, Faust tracks nothing, and the worker names the
offsets to commit::

    app = faust.App(...)
    delivery = deliver(app, on_assigned=core.assigned, on_revoked=core.revoked)   # before app.start()

    @app.agent(raw_topic(app, settings.trace_topic))
    async def former(stream):
        async for batch in delivery.batches(stream):
            if batch.assignment == delivery.assignment:    # may have changed in an await of this loop
                sends, ... = core.on_trace(batch.messages)

    await delivery.commit(batch.assignment, {("tribrain.trace", 0): 4128})

``on_assigned`` and ``on_revoked`` are called in the worker's event loop, between two steps of every agent. A
batch read before a rebalance is never delivered after it. If the worker still holds one, its ``assignment``
differs from ``delivery.assignment``, and Kafka refuses to commit it.

The fast implementation relies on the internals of one version of Faust and of aiokafka
(``streams.worker.batch_delivery``). With other versions the same interface loops over Faust's events, and the
log reports it.
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
    """Set up the delivery of an app that has not been started.

    ``on_assigned(assignment, partitions)`` is called before the first message of an assignment.
    ``on_revoked()`` is called before another worker can own the revoked partitions; every rebalance revokes
    all of them.
    """
    limits = limits or Limits()
    strange = strange_version()
    if strange is None:
        return BatchDelivery(app, on_assigned, on_revoked, limits)
    log.warning("%s: messages are delivered one at a time, at several times the cost", strange)
    return EventDelivery(app, on_assigned, on_revoked, limits)


def raw_topic(app: faust.App, name: str) -> Any:
    """A topic whose keys and values stay bytes."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
