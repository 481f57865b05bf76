"""Faust's consumer, reading committed messages alone.

Faust has no setting for that but its own transactions, and reads what another client's transaction has given
up again as if it were there. Everything else that reads these topics does not see it, so nobody could compute
again what was learnt of it.
"""

from __future__ import annotations

from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer

from streams.kafka.header_names import tolerate_in_aiokafka


class CommittedThread(AIOKafkaConsumerThread):
    """Faust's consumer thread."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer: Any = super()._create_worker_consumer(transport)
        if not hasattr(consumer, "_isolation_level"):
            raise RuntimeError("this version of aiokafka cannot be told to read committed messages alone")
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(self, consumer: Any, *arguments: Any, **options: Any) -> Any:
        assignment = _assignment(consumer)
        before = {} if assignment is None else _positions(assignment)
        try:
            return await super()._fetch_records(consumer, *arguments, **options)
        except UnicodeDecodeError:
            # What the read had taken already is lost with the error, so all of it is read again. Where it
            # was of another assignment it is not known where from, and only a new start is safe.
            if assignment is not _assignment(consumer):
                raise
            tolerate_in_aiokafka()
            for partition, position in before.items():
                consumer.seek(partition, position)
            return {}


def _assignment(consumer: Any) -> Any:
    subscription = consumer._subscription.subscription
    return None if subscription is None else subscription.assignment


def _positions(assignment: Any) -> dict[Any, int]:
    states = {partition: assignment.state_value(partition) for partition in assignment.tps}
    return {partition: state.position for partition, state in states.items() if state.has_valid_position}


class CommittedConsumer(Consumer):
    """Faust's consumer with that thread."""

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)
