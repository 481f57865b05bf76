"""The Faust worker: two agents that carry bytes between Kafka and the processors, and nothing more.

An event is acknowledged only when it need not be read again: on the trace topic once every older run of
its partition is closed and its pairs are on Kafka, on the pairs topic once a snapshot that contains it is.
Acknowledging in the order of offsets keeps clear of Faust's own handling of gaps, which commits past an
unacknowledged message where nothing was committed before.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.fail_points import reach
from streams.kafka.settings import Settings
from streams.messages.checkpoints import checkpoint_message
from streams.messages.limits import MAX_PAIR_BYTES, topic_bytes
from streams.messages.stored import Outgoing, StoredMessage
from streams.worker.stages import PairStage, TraceStage, Writer

log = logging.getLogger(__name__)

_LEAST_INTERVAL_S = 0.1
_TICKS_PER_TIMEOUT = 20
_LONGEST_LOOK_S = 2.0


Delivery = asyncio.Future[list[Any]]


@dataclass(slots=True)
class _Unacked:
    """A message that was handled, and whether Kafka has what came of it."""

    event: Any
    offset: int
    delivery: Delivery


def build_app(
    settings: Settings,
    *,
    group: str,
    trace_stage: TraceStage,
    pair_stage: PairStage,
    writer_of: Callable[[str], Writer],
    count_partitions: Callable[[], Awaitable[int]],
    on_failure: Callable[[BaseException], None],
    snapshot_every_pairs: int = 20,
    snapshot_every_s: float = 1.0,
    run_timeout_s: float = 21_600.0,
) -> faust.App:
    """The worker's app; nothing connects before it is started.

    Workers of one ``group`` share the partitions. ``writer_of`` gives the writer of a model, which is opened
    before its first pair after each assignment of the pairs. ``count_partitions`` tells how many the trace
    topic has. ``on_failure`` is called once for an error that is no fault of a message; its message stays
    unacknowledged. Snapshots are published after ``snapshot_every_pairs`` pairs, but at most ten a second, or
    after ``snapshot_every_s`` seconds with something learnt, and when the worker stops. A run is ended when
    nothing of it came for ``run_timeout_s`` seconds in which all that there is was read.
    """
    app = _faust_app(settings, group)
    assigned: set[tuple[str, int]] = set()
    unacked: defaultdict[tuple[str, int], deque[_Unacked]] = defaultdict(deque)
    handled: dict[tuple[str, int], int] = {}
    writers: dict[str, Writer] = {}
    publishing = asyncio.Lock()
    assignment = 0
    last_published = last_tick = 0.0
    failed = False

    async def publish(outgoing: Sequence[Outgoing]) -> Delivery:
        """Sends in order; the result is done when Kafka has them all."""
        deliveries = []
        for m in outgoing:
            headers = list(m.headers) or None
            deliveries.append(await app.producer.send(m.topic, m.key, m.value, m.partition, None, headers))
            reach("former.one-sent")
        return asyncio.gather(*deliveries)

    def is_owned(message: StoredMessage) -> bool:
        """What is left over from before a rebalance is read again by its new owner."""
        partition = (message.topic, message.partition)
        return partition in assigned or TP(*partition) in app.consumer.assignment()

    def note(event: Any, message: StoredMessage, delivery: Delivery) -> None:
        partition = (message.topic, message.partition)
        unacked[partition].append(_Unacked(event, message.offset, delivery))
        handled[partition] = message.offset

    def release(partition: tuple[str, int]) -> None:
        """Acknowledge what precedes the oldest open run and whose pairs Kafka has."""
        queue, resume = unacked[partition], trace_stage.resume_offset(partition[1])
        while queue and (resume is None or queue[0].offset < resume) and queue[0].delivery.done():
            first = queue.popleft()
            first.delivery.result()
            first.event.ack()

    async def publish_snapshots() -> None:
        async with publishing:
            covered = [(queue, len(queue)) for tp, queue in unacked.items() if tp[0] == settings.pairs_topic]
            snapshots = dict(pair_stage.take_snapshots())
            for model, checkpoint in pair_stage.take_checkpoints():
                state = await asyncio.to_thread(checkpoint_message, checkpoint, settings.snapshots_topic)
                await writers[model].publish(*filter(None, [snapshots.get(model)]), state)
                reach("learner.snapshot-published")
            for queue, count in covered:
                for _ in range(min(count, len(queue))):
                    covered_message = queue.popleft()
                    await covered_message.delivery
                    covered_message.event.ack()
            reach("learner.acknowledged")

    async def guarded(step: Awaitable[None]) -> None:
        """Faust would skip the message of a raising agent; stop the worker instead."""
        nonlocal failed
        try:
            await step
        except Exception as error:
            failed = True
            on_failure(error)
            await asyncio.Event().wait()

    async def form(event: Any) -> None:
        message = _stored(event)
        if not is_owned(message):
            return
        if trace_stage.partitions is None:
            before = assignment
            partitions = await count_partitions()
            await _make_known(app, settings.trace_topic, partitions)
            if assignment != before:
                return
            trace_stage.partitions = partitions
        formed = trace_stage.on_message(message)
        reach("former.formed")
        delivery = await publish(formed)
        reach("former.sent")
        note(event, message, delivery)
        release((message.topic, message.partition))
        reach("former.released")

    async def learn(event: Any) -> None:
        nonlocal last_published
        message = _stored(event)
        if not is_owned(message):
            return
        decoded = pair_stage.read(message)
        if isinstance(decoded, Outgoing):
            note(event, message, await publish([decoded]))
            return
        if decoded is not None:
            if not pair_stage.is_restored(decoded.model):
                before = assignment
                writer = writers.setdefault(decoded.model, writer_of(decoded.model))
                recovered = await writer.open()
                reach("learner.opened")
                if assignment != before:
                    return
                pair_stage.restore(decoded.model, recovered.checkpoint, recovered.published)
            pair_stage.learn(message, decoded)
        reach("learner.learnt")
        note(event, message, await publish([]))
        now = asyncio.get_running_loop().time()
        if (
            pair_stage.pairs_since_snapshot >= snapshot_every_pairs
            and now - last_published >= _LEAST_INTERVAL_S
        ):
            await publish_snapshots()
            last_published = now

    @app.agent(_topic(app, settings.trace_topic), name="pair-former")
    async def pair_former(stream: Any) -> None:
        async for event in stream.noack().events():
            await guarded(form(event))

    @app.agent(_topic(app, settings.pairs_topic), name="learner")
    async def learner(stream: Any) -> None:
        async for event in stream.noack().events():
            await guarded(learn(event))

    async def settle() -> None:
        await publish_snapshots()
        for partition in [tp for tp in unacked if tp[0] == settings.trace_topic]:
            release(partition)

    @app.timer(interval=snapshot_every_s, name="snapshots")
    async def snapshots() -> None:
        await guarded(settle())

    async def all_is_read() -> bool:
        """Whether the broker answers and has nothing on the trace topic that was not handled yet."""
        partitions = [TP(*tp) for tp in assigned if tp[0] == settings.trace_topic]
        try:
            ends = await app.consumer.highwaters(*partitions) if partitions else {}
            read = {
                tp: handled[tp] + 1 if tp in handled else await app.consumer.position(tp) or 0 for tp in ends
            }
            return all(read[tp] >= end for tp, end in ends.items())
        except (KafkaError, TimeoutError):
            return False

    async def end_silent_runs() -> None:
        """Time in which this process or the broker was away is no silence of the runs."""
        nonlocal last_tick
        read = await all_is_read()
        now = asyncio.get_running_loop().time()
        elapsed, last_tick = min(now - last_tick, tick_s + _LONGEST_LOOK_S), now
        if read:
            await (await publish(trace_stage.on_tick(elapsed, run_timeout_s)))

    tick_s = max(run_timeout_s / _TICKS_PER_TIMEOUT, _LEAST_INTERVAL_S)

    @app.timer(interval=tick_s, name="silent-runs")
    async def silent_runs() -> None:
        await guarded(end_silent_runs())

    async def own(_: Any, partitions: Iterable[Any], **__: Any) -> None:
        assigned.update((tp.topic, tp.partition) for tp in partitions)

    async def forget(*_: Any, **__: Any) -> None:
        """A rebalance takes every partition away before it gives some back, so all is read again."""
        nonlocal assignment
        assignment += 1
        if assigned:
            names = ", ".join(f"{topic}[{number}]" for topic, number in sorted(assigned))
            log.warning("gave up %s: the group of trainers shares its work anew", names)
        assigned.clear()
        unacked.clear()
        handled.clear()
        trace_stage.forget()
        pair_stage.forget()

    app.on_partitions_assigned.connect(own, weak=False)
    app.on_partitions_revoked.connect(forget, weak=False)

    async def last_snapshot() -> None:
        if not failed:
            await publish_snapshots()

    app.before_stop = last_snapshot
    return app


class _App(faust.App):
    """Faust's own signal before the shutdown comes after the partitions have been given back."""

    before_stop: Callable[[], Awaitable[None]]

    async def on_stop(self) -> None:
        await self.before_stop()
        await super().on_stop()


def _faust_app(settings: Settings, group: str) -> _App:
    return _App(
        group,
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers.split(",")],
        processing_guarantee="at_least_once",
        # An open run's events stay unacknowledged by design, so there is nothing to wait for.
        stream_wait_empty=False,
        stream_buffer_maxsize=4096,
        broker_commit_interval=1.0,
        # A killed worker's partitions are free again after so long; Kafka's own least value.
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        broker_request_timeout=40.0,
        broker_max_poll_interval=300.0,
        # Partitions that are added are seen after so long.
        consumer_metadata_max_age_ms=10_000,
        producer_request_timeout=30.0,
        producer_max_request_size=topic_bytes(MAX_PAIR_BYTES),
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        store="memory://",
        datadir=Path(tempfile.gettempdir()) / "tribrain-faust",
        debug=False,
    )


async def _make_known(app: faust.App, topic: str, partitions: int) -> None:
    """Let the producer hear of partitions that were added; left to itself it does so within five minutes."""
    producer = app.producer._producer
    while len(await producer.partitions_for(topic)) < partitions:
        await producer.client.force_metadata_update()


def _topic(app: faust.App, name: str) -> Any:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def _stored(event: Any) -> StoredMessage:
    message = event.message
    return StoredMessage(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int((message.timestamp or 0) * 1000),
        key=message.key,
        value=message.value or b"",
        headers=tuple(message.headers or ()),
    )
