"""The worker of ``tribrain serve text``: reads pairs, learns their texts, and publishes snapshots."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiokafka.errors
import click
import kafka.errors

from streams.errors import BadInput, counted
from streams.fail_points import reach
from streams.kafka.failures import failure, is_refusal
from streams.kafka.incarnations import TopicMadeAgain, check_incarnations, topic_ids
from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.messages.contracts import TextSnapshot
from streams.metrics.instruments import Instruments
from streams.snapshots.writer import WriterOf
from trainers.text.processor import TextProcessor
from tribrain.serve.stopping import Stopped, unless_stopped
from tribrain.serve.text import TextOptions
from tribrain.serve.text_metrics import TextMetrics
from tribrain.shell.exit_codes import FAILED
from tribrain.shell.service_end import saying_end

log = logging.getLogger(__name__)

_KAFKA_ERRORS = (aiokafka.errors.KafkaError, kafka.errors.KafkaError)
_BROKER_S = 10.0
_STOP_S = 5.0
"""Seconds for a last snapshot: aiokafka would ask a broker that is away for ever."""
_WATCH_EVERY_S = 5.0
_LEAST_INTERVAL_S = 0.5
"""Least seconds between two snapshots: in a catch-up, hundreds of pairs come while one is published."""


def serve(settings: Settings, given: TextOptions, instruments: Instruments) -> int:
    """Serve until stopped; the exit code. Raises BadInput, and Fenced where another one has taken over."""
    metrics = TextMetrics(settings, instruments)
    worker = _Worker(settings, given, metrics)
    create_topics(settings)
    try:
        with saying_end("text", given.model, metrics.facts, as_json=given.as_json), _refusals(settings):
            return asyncio.run(worker.serve())
    except _KAFKA_ERRORS as error:
        click.echo(f"tribrain: Kafka failed: {error}; start this again", err=True)
        return FAILED


@contextmanager
def _refusals(settings: Settings) -> Iterator[None]:
    """Raise as BadInput what Kafka refuses."""
    try:
        yield
    except _KAFKA_ERRORS as error:
        if is_refusal(error):
            raise failure(settings, error) from None
        raise


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report errors as asyncio does, but not what aiokafka leaves behind of a fenced-off writer."""
    if not isinstance(context.get("exception"), aiokafka.errors.ProducerFenced):
        loop.default_exception_handler(context)


class _Unpublished(Exception):
    """The worker was to stop while a snapshot could not be published."""


class _Worker:
    """One process from its start to a signal, an error or its successor."""

    def __init__(self, settings: Settings, given: TextOptions, metrics: TextMetrics) -> None:
        self._settings = settings
        self._given = given
        self._metrics = metrics
        self._model = given.model
        self._writer = WriterOf(TextSnapshot, settings, given.model)
        self._published_at = 0.0
        self._stop = asyncio.Event()

    async def serve(self) -> int:
        """Serve until a signal; the exit code, 0.

        Raises Fenced, and BadInput where a topic was made again or Kafka is away.
        """
        every_pairs, every_s = self._given.every_pairs, self._given.every_s
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        topic = self._settings.pairs_topic
        ids = await self._ids()
        processor = TextProcessor(self._model, snapshots_topic=self._settings.snapshots_topic, topic_ids=ids)
        try:
            snapshot = await unless_stopped(self._stop, self._writer.open())
            self._metrics.expose(processor, snapshot)
            if snapshot is not None:
                known_from = f"text snapshot {snapshot.version} of model {self._model!r}"
                self._check(snapshot.topic_ids, ids, known_from)
                processor.restore(snapshot)
            read = {int(number): offset for number, offset in processor.consumed.get(topic, {}).items()}
            with TopicReader(self._settings, topic, offsets=read) as reader:
                click.echo(
                    f"tribrain text: model {self._model!r} learns texts from "
                    f"{self._settings.bootstrap_servers}, {counted(processor.version, 'pair')} so far",
                    err=True,
                )
                looked_at = self._published_at = loop.time()
                self._metrics.watch.forget()
                while not self._stop.is_set():
                    self._metrics.heartbeat.beat()
                    messages = await asyncio.to_thread(reader.poll)
                    for message in messages:
                        processor.on_message(message)
                        reach("text.learnt")
                        if processor.pairs_since_snapshot >= every_pairs:
                            await self._publish(processor, not_within_s=_LEAST_INTERVAL_S)
                    self._metrics.learnt(processor, messages)
                    enough = processor.pairs_since_snapshot >= every_pairs
                    await self._publish(processor, not_within_s=_LEAST_INTERVAL_S if enough else every_s)
                    if loop.time() - looked_at >= _WATCH_EVERY_S:
                        looked_at = loop.time()
                        await self._look(ids)
                        await asyncio.to_thread(self._metrics.measure, reader)
            await self._publish(processor)
        except _Unpublished:
            click.echo(
                f"tribrain text: stopped, and version {processor.version} is not published, since no broker "
                "answers; the next start learns again what is missing",
                err=True,
            )
        except Stopped:
            pass  # nothing was learnt yet
        finally:
            await self._writer.close()
        return 0

    async def _publish(self, processor: TextProcessor, *, not_within_s: float = 0.0) -> None:
        """Publish a snapshot, if pairs were learnt and the last one is ``not_within_s`` seconds ago."""
        now = asyncio.get_running_loop().time()
        if now - self._published_at < not_within_s:
            return
        self._published_at = now
        if (outgoing := processor.take_snapshot()) is not None:
            begun_at = time.monotonic()
            await self._unless_stopped(self._writer.publish(outgoing))
            self._metrics.published(outgoing, time.monotonic() - begun_at)
            log.info("published version %d; %d pairs wait", processor.version, processor.waiting)
            reach("text.snapshot-published")

    async def _unless_stopped(self, publishing: Coroutine[Any, Any, None]) -> None:
        """Wait for ``publishing``. Raises _Unpublished where it is not done soon after a request to stop."""
        doing, stopped = asyncio.ensure_future(publishing), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await asyncio.wait({doing}, timeout=_STOP_S)
        if not doing.done():
            doing.cancel()
            raise _Unpublished
        doing.result()

    async def _ids(self) -> dict[str, str]:
        return await asyncio.to_thread(topic_ids, self._settings, [self._settings.pairs_topic], _BROKER_S)

    async def _look(self, ids: Mapping[str, str]) -> None:
        """Raises TopicMadeAgain where the topic was made again, which voids this process's offsets."""
        try:
            self._check(ids, await self._ids(), "this process")
        except TopicMadeAgain:
            raise
        except BadInput as error:
            log.debug("the topics could not be looked at: %s", error)

    def _check(self, known: Mapping[str, str], now: Mapping[str, str], known_from: str) -> None:
        try:
            check_incarnations(known, now, known_from)
        except TopicMadeAgain as error:
            raise TopicMadeAgain(
                f"{str(error).partition(';')[0]}; a text model cannot go on with another topic: "
                "give another --model"
            ) from None
