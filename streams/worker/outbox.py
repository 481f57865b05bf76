"""Messages on their way to Kafka: sent in batches, and known by numbers that the worker gave them.

The worker gives each message a number and goes on; batches of what waits leave one after the other for each
partition, so the order within a partition is the order of ``send``. No message has a task or a future::

    outbox = Outbox(settings, on_sent=core.sent, on_failed=core.failed)
    await outbox.start()
    outbox.send(17, Outgoing(settings.pairs_topic, key, value))
    ...    # later: core.sent([17]), once Kafka has it (acks=all), or core.failed([17], error)
    await outbox.stop()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streams.kafka.settings import Settings
from streams.messages.stored import Outgoing


class Outbox:
    """Writes to every topic but the snapshots'; an idempotent producer in the worker's event loop.

    ``on_sent(numbers)`` is called once the broker has a batch, with its numbers in the order of ``send``;
    ``on_failed(numbers, error)`` where it is not known to have it. A failure takes everything with it that
    was given and not yet sent, over all partitions: to send it again, in the order of the numbers, is up to
    the worker. What failed may still be on Kafka.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_sent: Callable[[Sequence[int]], None],
        on_failed: Callable[[Sequence[int], Exception], None],
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Connect. Raises BadInput where no broker answers."""
        raise NotImplementedError

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Send what waits, for at most so long, and close; what is left fails."""
        raise NotImplementedError

    def send(self, number: int, message: Outgoing) -> None:
        """Take a message on; never waits. Raises ValueError for one that is larger than Kafka takes."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """How many messages were given and are neither sent nor failed."""
        raise NotImplementedError

    @property
    def unsent_bytes(self) -> int:
        """Their keys and values, in bytes. The worker holds partitions back where this grows."""
        raise NotImplementedError

    async def know_partitions(self, topic: str, count: int) -> None:
        """Wait until the producer has heard of so many partitions; by itself it looks every five minutes."""
        raise NotImplementedError
