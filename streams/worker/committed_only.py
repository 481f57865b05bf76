"""Faust's consumer, reading committed messages alone.

Faust has no setting for that but its own transactions, and reads what another client's transaction has given
up again as if it were there. Everything else that reads these topics does not see it, so nobody could compute
again what was learnt of it.
"""

from __future__ import annotations

from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer


class CommittedThread(AIOKafkaConsumerThread):
    """Faust's consumer thread."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer: Any = super()._create_worker_consumer(transport)
        if not hasattr(consumer, "_isolation_level"):
            raise RuntimeError("this version of aiokafka cannot be told to read committed messages alone")
        consumer._isolation_level = "read_committed"
        return consumer


class CommittedConsumer(Consumer):
    """Faust's consumer with that thread."""

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)
