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

The fast way knows the internals of one version of Faust and of aiokafka (``streams.worker.faust_internals``).
With any other the same interface is a loop over Faust's events, and the log says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import faust

from streams.messages.stored import StoredMessage

Partition = tuple[str, int]
"""Topic and number; Faust's ``TP`` is one, too."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What waited for an agent: the messages of each partition in the order of their offsets."""

    assignment: int
    """Which assignment of partitions it was read in; counts up with every rebalance."""
    messages: list[StoredMessage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is given at once, and how much waits in memory."""

    batch_messages: int = 1_000
    batch_bytes: int = 4 << 20
    """Of keys and values. A message that is larger is given alone."""
    waiting_bytes: int = 16 << 20
    """Of one topic. Reading it pauses from here on, and goes on below a half."""


class Revoked(Exception):
    """The partitions were taken away: nothing was committed, and their next owner reads them again."""


class BrokerAway(Exception):
    """The broker did not answer in time. The commit may have happened, and may be tried again."""


class Delivery(Protocol):
    """The way of messages to one worker's agents, and of its offsets back."""

    @property
    def assignment(self) -> int:
        """The number of the present assignment; 0 before the first."""

    @property
    def partitions(self) -> frozenset[Partition]:
        """What this worker owns now; empty from a revocation to the next assignment."""

    def batches(self, stream: Any) -> AsyncIterator[Batch]:
        """All that waits for the agent of ``stream``, as long as the worker runs. Gives no empty batch."""

    async def commit(self, assignment: int, offsets: Mapping[Partition, int]) -> None:
        """Commit, for each partition, the offset of the next message to read after a restart.

        Raises Revoked where ``assignment`` is over or a partition is not of it, BrokerAway where the broker
        does not answer within some seconds.
        """

    def hold(self, partitions: Collection[Partition]) -> None:
        """Give nothing more of these until ``release`` or the next assignment; others are not held up."""

    def release(self, partitions: Collection[Partition]) -> None:
        """Go on with partitions that were held, with the next message."""


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
    raise NotImplementedError


def raw_topic(app: faust.App, name: str) -> Any:
    """A topic whose keys and values stay bytes."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
