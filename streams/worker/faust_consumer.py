"""Faust's consumer, which here reads only committed messages, with any header's name, and always stops.

It also stays in its group while it reads nothing, and reports why a group does not take it. Faust has no
setting for reading only committed messages outside its own transactions: it also reads messages of other
clients' aborted transactions. No other reader of these topics sees those, so nothing learnt from them could
be reproduced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer

from streams.kafka.header_names import tolerate_in_aiokafka

_T = TypeVar("_T")


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

    async def stay(self) -> None:
        """See ``WorkerConsumer.stay``."""
        consumer: Any = self._consumer
        if consumer is None:
            return
        with consumer._subscription.fetch_context():
            pass
        if consumer._coordinator is not None:
            consumer._coordinator.check_errors()

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

    _thread: ConsumerThread

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def in_thread(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run ``work`` in the consumer thread. Faust's own queue for this holds only two items."""
        running = asyncio.run_coroutine_threadsafe(work, self._thread.thread_loop)
        return await asyncio.wrap_future(running)

    async def stay(self) -> None:
        """Tell aiokafka that this worker is alive, though it may read nothing. Raises KafkaError for what the
        group answered to joining it.

        aiokafka leaves the group of a consumer that reads nothing for ``broker_max_poll_interval`` seconds,
        and does not join again; it keeps errors of joining until it is asked for them.
        """
        if self._thread.thread_loop.is_running():
            await self.in_thread(self._thread.stay())
