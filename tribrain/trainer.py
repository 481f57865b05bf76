"""``tribrain serve-trainer``: the Faust worker with the pair former and the learner wired in."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import click

from streams.app import build_app
from streams.contracts import PairStrategy
from streams.feed import read_latest_snapshot
from streams.settings import Settings
from streams.topics import create_topics
from trainers.pairing import PairingRules
from trainers.processors import PairProcessor, TraceProcessor
from tribrain import options

log = logging.getLogger(__name__)


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
    type=click.FloatRange(min=0.05),
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
    """Runs until a signal (exit code 0) or an error (1)."""
    stop = asyncio.Event()
    failures: list[BaseException] = []

    def on_failure(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
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
        load_snapshot=lambda: read_latest_snapshot(settings, rules.model, timeout_s=30.0),
        on_failure=on_failure,
        snapshot_every_pairs=snapshot_every_pairs,
        snapshot_every_s=snapshot_every_s,
    )
    await app.start()
    click.echo(f"tribrain trainer: model {rules.model!r} learns from {settings.bootstrap_servers}", err=True)
    crashed = asyncio.ensure_future(app.wait_until_stopped())
    await asyncio.wait({asyncio.ensure_future(stop.wait()), crashed}, return_when=asyncio.FIRST_COMPLETED)
    await app.stop()
    return 1 if failures or not stop.is_set() else 0
