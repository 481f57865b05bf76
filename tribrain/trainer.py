"""``tribrain serve-trainer``: the Faust worker with the pair former and the learner wired in."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import click

from streams.app import build_app
from streams.contracts import PairStrategy
from streams.errors import BadInput
from streams.settings import Settings
from streams.snapshot_writer import Fenced, SnapshotWriter
from streams.topics import create_topics
from trainers.pairing import PairingRules
from trainers.processors import PairProcessor, TraceProcessor
from tribrain import options

log = logging.getLogger(__name__)

_FENCED = 3


@click.command(epilog="Example: tribrain serve-trainer --bootstrap-servers 127.0.0.1:9092")
@options.bootstrap_servers
@options.model
@options.strategy
@options.min_gap
@options.top_k
@click.option(
    "--snapshot-every-pairs",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Publish a snapshot after so many pairs …",
)
@click.option(
    "--snapshot-every-s",
    type=options.FiniteFloat(min=0.05),
    default=1.0,
    show_default=True,
    help="… or after so many seconds with something learnt.",
)
def serve_trainer(
    bootstrap_servers: str | None,
    model: str,
    strategy: PairStrategy,
    min_gap: float,
    top_k: int,
    snapshot_every_pairs: int,
    snapshot_every_s: float,
) -> None:
    """Form pairs from the trace topic, learn them, publish reward snapshots; until stopped.

    It may be killed at any time and started again, here or elsewhere: it goes on from the newest snapshot
    and the offsets on Kafka, and keeps nothing on disk.
    """
    settings = Settings.from_environment(bootstrap_servers)
    create_topics(settings)
    rules = PairingRules(strategy=strategy, min_gap=min_gap, top_k=top_k, model=model)
    sys.exit(asyncio.run(_serve(settings, rules, snapshot_every_pairs, snapshot_every_s)))


async def _serve(
    settings: Settings, rules: PairingRules, snapshot_every_pairs: int, snapshot_every_s: float
) -> int:
    """Runs until a signal (exit code 0), an error (1), or another trainer of the model (3)."""
    stop = asyncio.Event()
    failures: list[BaseException] = []

    def on_failure(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    writer = SnapshotWriter(settings, rules.model)
    app = build_app(
        settings,
        trace_stage=TraceProcessor(
            rules, pairs_topic=settings.pairs_topic, dead_letters_topic=settings.dead_letters_topic
        ),
        pair_stage=PairProcessor(
            rules.model,
            snapshots_topic=settings.snapshots_topic,
            dead_letters_topic=settings.dead_letters_topic,
        ),
        writer=writer,
        on_failure=on_failure,
        snapshot_every_pairs=snapshot_every_pairs,
        snapshot_every_s=snapshot_every_s,
    )
    await app.start()
    click.echo(f"tribrain trainer: model {rules.model!r} learns from {settings.bootstrap_servers}", err=True)
    crashed = asyncio.ensure_future(app.wait_until_stopped())
    await asyncio.wait({asyncio.ensure_future(stop.wait()), crashed}, return_when=asyncio.FIRST_COMPLETED)
    await app.stop()
    await writer.close()
    if failures and isinstance(failures[0], Fenced | BadInput):
        click.echo(f"tribrain: {failures[0]}", err=True)
        return _FENCED if isinstance(failures[0], Fenced) else 1
    if failures:
        log.error("the trainer stopped at an error", exc_info=failures[0])
    return 0 if stop.is_set() and not failures else 1
