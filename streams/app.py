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
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faust
from faust.types import TP

from streams.contracts import RewardSnapshot
from streams.fail_points import reach
from streams.messages import Outgoing, StoredMessage
from streams.settings import Settings

log = logging.getLogger(__name__)

_LEAST_INTERVAL_S = 0.1


class TraceStage(Protocol):
    """Trace events in, pairs out."""

    def on_message(self, message: StoredMessage) -> list[Outgoing]: ...
    def resume_offset(self, partition: int) -> int | None: ...
    def forget(self) -> None: ...


class PairStage(Protocol):
    """Pairs in, snapshots out."""

    @property
    def restored(self) -> bool: ...
    @property
    def pairs_since_snapshot(self) -> int: ...
    def restore(self, snapshot: RewardSnapshot | None) -> None: ...
    def on_message(self, message: StoredMessage) -> list[Outgoing]: ...
    def take_snapshot(self) -> Outgoing | None: ...
    def forget(self) -> None: ...


Delivery = asyncio.Future[list[Any]]


@dataclass(slots=True)
class _Unacked:
    """A message that was handled, and whether Kafka has what came of it."""

    event: Any
    offset: int
    delivery: Delivery


class Writer(Protocol):
    """Where snapshots are read from and published; opening it fences off every older owner."""

    async def open(self) -> RewardSnapshot | None: ...
    async def publish(self, snapshot: Outgoing) -> None: ...


def build_app(
    settings: Settings,
    *,
    trace_stage: TraceStage,
    pair_stage: PairStage,
    writer: Writer,
    on_failure: Callable[[BaseException], None],
    snapshot_every_pairs: int = 20,
    snapshot_every_s: float = 1.0,
) -> faust.App:
    """The worker's app; nothing connects before it is started.

    ``writer`` is opened before the first pair after each assignment of the pairs. ``on_failure`` is called
    once for an error that is no fault of a message; its message stays unacknowledged. A snapshot is
    published after ``snapshot_every_pairs`` pairs, but at most ten a second, or after
    ``snapshot_every_s`` seconds with something learnt, and when the worker stops.
    """
    app = _faust_app(settings)
    assigned: set[tuple[str, int]] = set()
    unacked: defaultdict[tuple[str, int], deque[_Unacked]] = defaultdict(deque)
    publishing = asyncio.Lock()
    last_published = 0.0
    failed = False

    async def publish(outgoing: list[Outgoing]) -> Delivery:
        """Sends in order; the result is done when Kafka has them all."""
        return asyncio.gather(
            *[
                await app.producer.send(m.topic, m.key, m.value, None, None, list(m.headers) or None)
                for m in outgoing
            ]
        )

    def release(partition: tuple[str, int]) -> None:
        """Acknowledge what precedes the oldest open run and whose pairs Kafka has."""
        queue, resume = unacked[partition], trace_stage.resume_offset(partition[1])
        while queue and (resume is None or queue[0].offset < resume) and queue[0].delivery.done():
            first = queue.popleft()
            first.delivery.result()
            first.event.ack()

    async def publish_snapshot() -> None:
        async with publishing:
            covered = [(queue, len(queue)) for tp, queue in unacked.items() if tp[0] == settings.pairs_topic]
            snapshot = pair_stage.take_snapshot()
            if snapshot is not None:
                await writer.publish(snapshot)
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
        partition = (message.topic, message.partition)
        formed = trace_stage.on_message(message)
        reach("former.formed")
        delivery = await publish(formed)
        reach("former.sent")
        unacked[partition].append(_Unacked(event, message.offset, delivery))
        release(partition)
        reach("former.released")

    async def learn(event: Any) -> None:
        nonlocal last_published
        message = _stored(event)
        partition = (message.topic, message.partition)
        if not pair_stage.restored:
            if partition not in assigned and TP(*partition) not in app.consumer.assignment():
                return  # left over from before a rebalance: its new owner reads it again
            snapshot = await writer.open()
            reach("learner.opened")
            pair_stage.restore(snapshot)
        delivery = await publish(pair_stage.on_message(message))
        reach("learner.learnt")
        unacked[partition].append(_Unacked(event, message.offset, delivery))
        now = asyncio.get_running_loop().time()
        if (
            pair_stage.pairs_since_snapshot >= snapshot_every_pairs
            and now - last_published >= _LEAST_INTERVAL_S
        ):
            await publish_snapshot()
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
        await publish_snapshot()
        for partition in [tp for tp in unacked if tp[0] == settings.trace_topic]:
            release(partition)

    @app.timer(interval=snapshot_every_s, name="snapshots")
    async def snapshots() -> None:
        await guarded(settle())

    async def own(_: Any, partitions: Iterable[Any], **__: Any) -> None:
        assigned.update((tp.topic, tp.partition) for tp in partitions)

    async def forget(*_: Any, **__: Any) -> None:
        """A rebalance takes every partition away before it gives some back, so all is read again."""
        assigned.clear()
        unacked.clear()
        trace_stage.forget()
        pair_stage.forget()

    app.on_partitions_assigned.connect(own, weak=False)
    app.on_partitions_revoked.connect(forget, weak=False)

    async def last_snapshot() -> None:
        if not failed:
            await publish_snapshot()

    app.before_stop = last_snapshot
    return app


class _App(faust.App):
    """Faust's own signal before the shutdown comes after the partitions have been given back."""

    before_stop: Callable[[], Awaitable[None]]

    async def on_stop(self) -> None:
        await self.before_stop()
        await super().on_stop()


def _faust_app(settings: Settings) -> _App:
    return _App(
        f"{settings.topic_prefix}-trainer",
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
        producer_request_timeout=30.0,
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
