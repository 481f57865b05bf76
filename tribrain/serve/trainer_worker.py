"""The worker of ``tribrain serve trainer``: Faust, with the pair former and the learner wired in."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

import click

from streams.errors import BadInput, Fenced, NoBroker
from streams.kafka.candidates import Candidates
from streams.kafka.closed_runs import read_closed_runs
from streams.kafka.disks import fullest_disk
from streams.kafka.failures import failure, is_refusal
from streams.kafka.incarnations import TopicMadeAgain, check_incarnations, topic_ids
from streams.kafka.settings import Settings, trainer_group
from streams.messages.candidates import Found
from streams.messages.checkpoints import base_message, checkpoint_message
from streams.messages.codec import decode_snapshot
from streams.messages.contracts import RewardSnapshot, snapshot_key
from streams.messages.stored import StoredMessage
from streams.snapshots.feed import read_held
from streams.snapshots.newest import read_newest
from streams.snapshots.writer import SnapshotWriter
from streams.worker.app import WorkerApp, build_app
from streams.worker.effects import Lookup
from streams.worker.pair_side import Pace, PairSide
from streams.worker.shell import Shell
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide
from trainers.processing.pair_processor import PairProcessors
from trainers.processing.relearn import base_of
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.vote_processor import VoteProcessor
from tribrain.serve.stopping import Stopped, stopped, unless_stopped
from tribrain.serve.trainer_metrics import TrainerMetrics, TrainerParts
from tribrain.serve.trainer_options import TrainerOptions
from tribrain.shell.exit_codes import BAD_INPUT, FAILED, FENCED
from tribrain.shell.service_end import say_end

log = logging.getLogger(__name__)

_BROKER_S = 10.0
_WATCH_EVERY_S = 5.0
_STAY_EVERY_S = 1.0
_LOOK_AT_DISKS_EVERY_S = 60.0
_LOOK_AT_PAIRS_EVERY_S = 1.0
_T = TypeVar("_T")


class TrainerWorker:
    """One worker from its start to a signal, an error or its successor."""

    def __init__(self, settings: Settings, given: TrainerOptions, metrics: TrainerMetrics) -> None:
        self._settings = settings
        self._given = given
        self._rules = given.rules
        self._recipe = given.recipe
        self._metrics = metrics
        self._failure: BaseException | None = None
        self._one_lookup = asyncio.Lock()

    async def serve(self) -> NoReturn:
        """Serve, then end the process: 0 after a signal, 1 after an error, 2 for bad input, 3 if fenced off.

        Raises BadInput where it cannot begin.
        """
        stop = asyncio.Event()

        def fail(error: BaseException) -> None:
            self._failure = failure(settings, error) if is_refusal(error) else error
            stop.set()

        settings, rules = self._settings, self._rules
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        group = trainer_group(settings, rules.model)
        topics = (settings.trace_topic, settings.pairs_topic, settings.votes_topic)
        ids = await self._in_thread(lambda: topic_ids(settings, topics))
        parts = self._parts(group, ids, fail)
        shell, metrics = parts.shell, self._metrics
        metrics.expose(parts)
        try:
            await unless_stopped(stop, self._adopt(ids))
        except Stopped:
            self._exit()
        app = build_app(
            settings,
            group,
            shell,
            run_timeout_s=self._given.run_timeout_s,
            heartbeat=metrics.heartbeat,
            watch=metrics.watch,
            on_built=lambda delivery, outbox: metrics.connect(parts, delivery, outbox),
        )
        stopping = asyncio.ensure_future(stop.wait())
        staying = asyncio.ensure_future(self._stay_in_group(app, shell))
        starting = asyncio.ensure_future(app.start())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            # Its group has not taken it, so it has read nothing. What has only half begun may not stop.
            self._exit()
        starting.result()
        click.echo(
            f"tribrain trainer: model {rules.model!r} learns from {settings.bootstrap_servers}", err=True
        )
        watches = [
            staying,
            asyncio.ensure_future(self._watch_topics(ids, shell)),
            asyncio.ensure_future(self._watch_disks()),
            asyncio.ensure_future(self._watch_snapshots(shell)),
        ]
        crashed = asyncio.ensure_future(app.wait_until_stopped())
        await asyncio.wait({stopping, crashed}, return_when=asyncio.FIRST_COMPLETED)
        for watch in watches:
            watch.cancel()
        if not stop.is_set():
            shell.first_error.fail(app.crash_reason or RuntimeError("Faust has ended by itself"))
        with shell.first_error.failing():
            await self._end_without_a_broker()
        try:
            await stopped(app.stop(), self._end_without_a_broker)
        except Exception as error:
            shell.first_error.fail(error)
        self._exit()

    def _parts(
        self, group: str, ids: Mapping[str, str], fail: Callable[[BaseException], None]
    ) -> TrainerParts:
        settings, rules = self._settings, self._rules
        former = TraceProcessor(
            rules,
            trace_topic=settings.trace_topic,
            pairs_topic=settings.pairs_topic,
            dead_letters_topic=settings.dead_letters_topic,
            closed_runs_topic=settings.closed_runs_topic,
        )
        learner = PairProcessors(
            rules,
            snapshots_topic=settings.snapshots_topic,
            dead_letters_topic=settings.dead_letters_topic,
            topic_ids=ids,
            recipe=self._recipe,
        )
        of_votes = VoteProcessor(
            rules, pairs_topic=settings.pairs_topic, dead_letters_topic=settings.dead_letters_topic
        )
        candidates = Candidates(settings, _BROKER_S)
        pace = Pace(
            snapshot_every_pairs=self._given.snapshot_every_pairs,
            snapshot_every_s=self._given.snapshot_every_s,
            checkpoint_every_s=self._given.checkpoint_every_s,
        )
        trace, pairs = TraceSide(former), PairSide(learner, pace, cpu_s=time.thread_time)
        votes = VoteSide(of_votes, self._given.vote_timeout_s)
        shell = Shell(
            settings,
            trace,
            pairs,
            votes,
            recall=lambda: self._in_thread(lambda: read_closed_runs(settings, group, _BROKER_S)),
            look_up=lambda wanted: self._look_up(candidates, wanted),
            writer_of=self._writer,
            on_failure=fail,
            on_published=self._metrics.published,
        )
        return TrainerParts(
            former=former,
            learner=learner,
            of_votes=of_votes,
            trace=trace,
            pairs=pairs,
            votes=votes,
            shell=shell,
        )

    async def _end_without_a_broker(self) -> None:
        """End at once if none answers: Faust would wait a minute for it or for ever, with its own tracebacks.

        Nothing is lost: the next trainer learns again what no snapshot has.
        """
        settings = self._settings
        try:
            await self._in_thread(lambda: topic_ids(settings, (settings.trace_topic,), _BROKER_S))
        except BadInput:
            click.echo(
                "tribrain trainer: stopped; the last snapshot is not published, since no broker answers, and "
                "what it would have had is learnt at the next start",
                err=True,
            )
            self._exit()

    async def _adopt(self, ids: Mapping[str, str]) -> None:
        """Compare the topic ids in the newest snapshots with the topics, and adopt those made again.

        Raises TopicMadeAgain where that was not accepted.
        """
        for model, (message, snapshot) in (await self._in_thread(self._newest)).items():
            self._metrics.found(message, snapshot)
            try:
                check_incarnations(snapshot.topic_ids, ids, f"snapshot {snapshot.version} of model {model!r}")
            except TopicMadeAgain:
                if not self._given.accept_new_topics:
                    raise
                pairs = self._settings.pairs_topic
                if snapshot.topic_ids.get(pairs) != ids.get(pairs):
                    await self._begin_on_base(model)

    def _newest(self) -> dict[str, tuple[StoredMessage, RewardSnapshot]]:
        """The newest snapshot of each model that this worker learns."""
        if self._rules.model_by is None:
            key = snapshot_key(self._rules.model).encode()
            newest = read_newest(self._settings, {key: decode_snapshot}, _BROKER_S)
            return {snapshot.model: (message, snapshot) for message, snapshot in newest.values()}
        held = read_held(self._settings, _BROKER_S)
        return {
            model: of_model.snapshots[-1]
            for model, of_model in held.items()
            if of_model.snapshots and self._rules.learns(model)
        }

    async def _begin_on_base(self, model: str) -> None:
        """Keep the newest checkpoint for good, and go on from it."""
        writer = self._writer(model)
        recovery = await writer.open()
        base = base_of(recovery, model, self._recipe)
        if recovery.checkpoint is None or recovery.checkpoint.version < recovery.published:
            log.warning(
                "model %r goes on from its last checkpoint; what was learnt behind it is gone with the topic",
                model,
            )
        topic = self._settings.snapshots_topic
        await writer.publish(checkpoint_message(base, topic), base_message(base, topic))
        await writer.close()

    async def _stay_in_group(self, app: WorkerApp, shell: Shell) -> None:
        with shell.first_error.failing():
            while True:
                await asyncio.sleep(_STAY_EVERY_S)
                await app.stay()

    async def _watch_topics(self, ids: Mapping[str, str], shell: Shell) -> None:
        """Stop when a topic is made again under the running worker, whose offsets then mean nothing."""
        with shell.first_error.failing():
            while True:
                await asyncio.sleep(_WATCH_EVERY_S)
                try:
                    now = await self._in_thread(lambda: topic_ids(self._settings, ids, _BROKER_S))
                except NoBroker as error:
                    log.debug("the topics could not be looked at: %s", error)
                else:
                    check_incarnations(ids, now, "this trainer")

    async def _watch_snapshots(self, shell: Shell) -> None:
        """Look at the newest snapshots whenever this worker takes the pairs over from another."""
        seen: int | None = None
        while True:
            await asyncio.sleep(_LOOK_AT_PAIRS_EVERY_S)
            now = shell.learning
            if now is None or now == seen:
                continue
            try:
                newest = await self._in_thread(self._newest) if now else {}
            except BadInput as error:  # figures alone: nothing that is learnt depends on them
                log.debug("the newest snapshots could not be looked at: %s", error)
                continue
            if now == shell.learning:
                self._metrics.took_over(newest.values())
                seen = now

    async def _watch_disks(self) -> None:
        while True:
            try:
                self._metrics.kafka_disk = await self._in_thread(
                    lambda: fullest_disk(self._settings, _BROKER_S)
                )
            except Exception as error:  # a figure alone: nothing that is learnt depends on it
                self._metrics.kafka_disk = None
                log.debug("Kafka's disks could not be looked at: %s", error)
            await asyncio.sleep(_LOOK_AT_DISKS_EVERY_S)

    async def _look_up(self, candidates: Candidates, wanted: Lookup) -> Found:
        async with self._one_lookup:  # a lookup of an earlier assignment may still run
            return await self._in_thread(lambda: candidates.look_up(wanted.candidates, wanted.votes))

    def _writer(self, model: str) -> SnapshotWriter:
        return SnapshotWriter(self._settings, model)

    def _exit(self) -> NoReturn:
        """Report, and end the process without its threads, which may go on with a topic for minutes.

        They only read, and all that could be written has been.
        """
        os._exit(self._end())

    def _end(self) -> int:
        """Report what was done, and what went wrong; the exit code."""
        given = self._given
        facts = self._metrics.facts()
        say_end("trainer", given.model, facts, self._failure, as_json=given.as_json)
        if isinstance(self._failure, Fenced | BadInput):
            click.echo(f"tribrain: {self._failure}", err=True)
            return FENCED if isinstance(self._failure, Fenced) else BAD_INPUT
        if self._failure is not None:
            log.error("the trainer stopped at an error", exc_info=self._failure)
        return 0 if self._failure is None else FAILED

    @staticmethod
    async def _in_thread(work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(None, work)
