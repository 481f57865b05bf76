"""Faust's consumer, which here reads only committed messages, in any header's name, and always stops.

Faust has no setting for the first outside its own transactions: it also reads messages of other clients'
aborted transactions. No other reader of these topics sees those, so nothing learnt from them could be
reproduced.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer

from streams.kafka.header_names import tolerate_in_aiokafka


class ConsumerThread(AIOKafkaConsumerThread):
    """Faust's consumer thread, with isolation level ``read_committed``."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer: Any = super()._create_worker_consumer(transport)
        if not hasattr(consumer, "_isolation_level"):
            raise RuntimeError("this version of aiokafka cannot be set to read only committed messages")
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(self, consumer: Any, *arguments: Any, **options: Any) -> Any:
        assignment = _assignment(consumer)
        before = {} if assignment is None else _positions(assignment)
        try:
            return await super()._fetch_records(consumer, *arguments, **options)
        except UnicodeDecodeError:
            # The records that were already read are lost with the error, so read all of them again. If the
            # assignment has changed, their start is unknown, and only a restart is safe.
            if assignment is not _assignment(consumer):
                raise
            tolerate_in_aiokafka()
            for partition, position in before.items():
                consumer.seek(partition, position)
            return {}

    async def on_thread_stop(self) -> None:
        try:
            await super().on_thread_stop()
        except asyncio.CancelledError:
            # aiokafka cancels a fetch that waits to be tried again, awaits it, and takes its cancellation for
            # its own. This thread would die of it, and the app wait for this thread for ever.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await self._ensure_consumer()._client.close()


def _assignment(consumer: Any) -> Any:
    subscription = consumer._subscription.subscription
    return None if subscription is None else subscription.assignment


def _positions(assignment: Any) -> dict[Any, int]:
    states = {partition: assignment.state_value(partition) for partition in assignment.tps}
    return {partition: state.position for partition, state in states.items() if state.has_valid_position}


class WorkerConsumer(Consumer):
    """Faust's consumer, in a ``ConsumerThread``."""

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)
