"""The worker as a Faust app: three agents that pass batches to the state machines, and timers."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaError

from streams.kafka.settings import Settings, faust_config
from streams.metrics.health import Heartbeat
from streams.metrics.lag import LagWatch
from streams.worker.delivery import Delivery, deliver, raw_topic
from streams.worker.lag_meter import LagMeter
from streams.worker.outbox import Outbox
from streams.worker.shell import Shell

SESSION_S = 6.0
"""Time after which a killed worker's partitions are free again; by default, Kafka allows no less."""
LONGEST_IDLE_S = 300.0
"""A worker that neither reads nor calls ``stay`` for this long leaves the group, and does not come back. Also
the time that Kafka gives all workers to join again at a rebalance."""
LONGEST_TURN_S = 15.0
"""An event loop without an iteration for this long counts as hanging."""
_COMMIT_EVERY_S = 1.0
_TICK_EVERY_S = 0.02
_MEASURE_EVERY_S = 2.0
_LEAST_SILENCE_TICK_S = 0.1
_SILENCE_TICKS = 20
"""How often silence is checked during one ``run_timeout_s``."""
_LONGEST_LOOK_S = 2.0


def build_app(
    settings: Settings,
    group: str,
    shell: Shell,
    *,
    run_timeout_s: float,
    heartbeat: Heartbeat | None = None,
    watch: LagWatch | None = None,
    on_built: Callable[[Delivery, Outbox], None] = lambda delivery, outbox: None,
) -> WorkerApp:
    """The worker's app; nothing connects before it is started.

    Workers of one ``group`` share the partitions. A run ends after ``run_timeout_s`` seconds without an event
    of it; time in which the worker lags behind the topic does not count. ``heartbeat`` beats while the event
    loop runs, and ``watch`` receives the worker's lag. ``on_built`` receives the two objects that hold
    messages.
    """
    heartbeat, watch = heartbeat or Heartbeat(LONGEST_TURN_S), watch or LagWatch()
    app = _faust_app(settings, group)
    delivery = deliver(app, on_assigned=shell.assigned, on_revoked=shell.revoked)
    outbox = Outbox(settings, on_sent=shell.sent, on_refused=shell.refused, on_failed=shell.failed)
    shell.connect(delivery, outbox)
    on_built(delivery, outbox)
    meter = LagMeter(watch, delivery, shell.sides)
    silence = _Silence(app, delivery, settings.trace_topic, shell, run_timeout_s)

    @app.agent(raw_topic(app, settings.trace_topic), name="pair-former")
    async def pair_former(stream: Any) -> None:
        # Faust would restart an agent that ends, and skip the messages it had been given.
        with shell.first_error.failing():
            async for batch in delivery.batches(stream):
                await shell.read_traces(batch)

    @app.agent(raw_topic(app, settings.pairs_topic), name="learner")
    async def learner(stream: Any) -> None:
        with shell.first_error.failing():
            async for batch in delivery.batches(stream):
                await shell.read_pairs(batch)

    @app.agent(raw_topic(app, settings.votes_topic), name="vote-pairing")
    async def vote_pairing(stream: Any) -> None:
        with shell.first_error.failing():
            async for batch in delivery.batches(stream):
                await shell.read_votes(batch)

    @app.timer(interval=_TICK_EVERY_S, name="publications")
    async def publications() -> None:
        heartbeat.beat()
        shell.tick()

    @app.timer(interval=_MEASURE_EVERY_S, name="lag")
    async def lag() -> None:
        if shell.is_assigned:
            await meter.measure()
        else:
            watch.lost()

    @app.timer(interval=_COMMIT_EVERY_S, name="commits")
    async def commits() -> None:
        await shell.commit()

    @app.timer(interval=silence.tick_s, name="silent-runs")
    async def silent_runs() -> None:
        with shell.first_error.failing():
            await silence.look()

    async def finish() -> None:
        await shell.finish()
        with shell.first_error.failing():
            await outbox.stop()
        await shell.commit()

    app.before_start, app.before_stop = outbox.start, finish
    return app


class _Silence:
    """Measures how long runs are silent; time in which this process or the broker was down does not count."""

    def __init__(
        self, app: faust.App, delivery: Delivery, topic: str, shell: Shell, run_timeout_s: float
    ) -> None:
        self.tick_s = max(run_timeout_s / _SILENCE_TICKS, _LEAST_SILENCE_TICK_S)
        self._app, self._delivery, self._topic, self._shell = app, delivery, topic, shell
        self._run_timeout_s = run_timeout_s
        self._last_s = 0.0

    async def look(self) -> None:
        """Call this every ``tick_s`` seconds."""
        read = await self._all_is_read()
        now_s = self._app.loop.time()
        elapsed_s, self._last_s = min(now_s - self._last_s, self.tick_s + _LONGEST_LOOK_S), now_s
        if read:
            self._shell.silence(elapsed_s, self._run_timeout_s)

    async def _all_is_read(self) -> bool:
        """Whether the broker answers and every trace event was handled.

        Events behind an open transaction count as not handled: a run that has some there is not silent.
        """
        try:
            return await self._delivery.is_at_end(self._topic)
        except (KafkaError, TimeoutError):
            return False


class WorkerApp(faust.App):
    """Runs hooks before the app starts and stops. Faust's own signals come before it has an event loop, and
    after it has given the partitions back."""

    before_start: Callable[[], Awaitable[None]]
    before_stop: Callable[[], Awaitable[None]]

    async def on_start(self) -> None:
        await self.before_start()
        await super().on_start()

    async def stay(self) -> None:
        """Call this every few seconds, see ``WorkerConsumer.stay``."""
        if self._consumer is not None:
            await self._consumer.stay()

    async def on_stop(self) -> None:
        await self.before_stop()
        await super().on_stop()


def _faust_app(settings: Settings, group: str) -> WorkerApp:
    return WorkerApp(
        group,
        **faust_config(settings),
        processing_guarantee="at_least_once",
        # Uncommitted messages are read again by design, so there is nothing to wait for.
        stream_wait_empty=False,
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=SESSION_S / 3,
        broker_request_timeout=40.0,
        broker_max_poll_interval=LONGEST_IDLE_S,
        # New partitions are noticed after this long.
        consumer_metadata_max_age_ms=10_000,
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
