"""``tribrain serve-trainer``: pairs formed and learnt as the runs go on."""

from __future__ import annotations

import asyncio
import sys

import click

from streams.messages.contracts import PairStrategy
from trainers.bradley_terry.estimators import LearnerName, Recipe
from trainers.pairs.pairing import PairingRules
from tribrain.shell import measuring, options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run, say_service_plan
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import FiniteFloat


@click.command(cls=Command, epilog="Example: tribrain serve trainer --bootstrap-servers 127.0.0.1:9092")
@bootstrap_servers
@options.model
@options.strategy
@options.min_gap
@options.top_k
@options.model_by
@options.learner
@click.option(
    "--run-timeout-s",
    type=FiniteFloat(min=1.0),
    default=21_600.0,
    show_default=True,
    help="End a run that was silent for so many seconds while everything else was read.",
)
@click.option(
    "--vote-timeout-s",
    type=FiniteFloat(min=1.0),
    default=604_800.0,
    show_default=True,
    help="Make a dead letter of a vote whose videos were looked for in vain for so many seconds.",
)
@click.option(
    "--accept-new-topics",
    is_flag=True,
    help="Go on from the newest snapshot where a topic was deleted and made again.",
)
@click.option(
    "--snapshot-every-pairs",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Publish a snapshot after so many pairs …",
)
@click.option(
    "--snapshot-every-s",
    type=FiniteFloat(min=0.05),
    default=1.0,
    show_default=True,
    help="… or after so many seconds with something learnt.",
)
@click.option(
    "--checkpoint-every-s",
    type=FiniteFloat(min=0.05),
    default=30.0,
    show_default=True,
    help="Save the learner's state after so many seconds with something learnt: what came since is learnt "
    "again after a crash.",
)
@measuring.metrics_port
@dry_run
def serve_trainer(
    bootstrap_servers: str | None,
    model: str,
    strategy: PairStrategy,
    min_gap: float,
    top_k: int,
    model_by: str | None,
    learner: LearnerName | None,
    run_timeout_s: float,
    vote_timeout_s: float,
    accept_new_topics: bool,
    snapshot_every_pairs: int,
    snapshot_every_s: float,
    checkpoint_every_s: float,
    metrics_port: int | None,
    metrics_host: str,
    dry_run: bool,
) -> None:
    """Form pairs from the trace topic and of votes, learn them, publish reward snapshots; until stopped.

    It may be killed at any time and started again, here or elsewhere: it goes on from the newest checkpoint
    and the offsets on Kafka, and keeps nothing on disk. Trainers of one model share its work, trainers of
    different models learn side by side from the same runs.
    """
    settings = open_kafka(bootstrap_servers, "serve-trainer", model)
    if dry_run:
        say_service_plan(settings, f"form {strategy} pairs and learn model {model!r}")
        return

    # Not at the top: Faust and Kafka's clients take a second, and --help needs none.
    from streams.kafka.topics import create_topics
    from streams.worker.pair_side import Pace
    from trainers.online.learner import load_learner
    from tribrain.serve.trainer_metrics import TrainerMetrics
    from tribrain.serve.trainer_worker import TrainerWorker

    rules = PairingRules(strategy=strategy, min_gap=min_gap, top_k=top_k, model=model, model_by=model_by)
    recipe = Recipe(learner=learner) if learner else None
    # Not at the first pair, where the group of consumers would wait for it.
    load_learner(recipe)
    pace = Pace(
        snapshot_every_pairs=snapshot_every_pairs,
        snapshot_every_s=snapshot_every_s,
        checkpoint_every_s=checkpoint_every_s,
    )
    with measuring.measured("trainer", metrics_port, metrics_host) as instruments:
        metrics = TrainerMetrics(settings, instruments)
        instruments.health = metrics.condition
        create_topics(settings)
        trainer = TrainerWorker(
            settings,
            rules,
            recipe,
            pace,
            run_timeout_s=run_timeout_s,
            vote_timeout_s=vote_timeout_s,
            accept_new_topics=accept_new_topics,
            metrics=metrics,
        )
        code = asyncio.run(trainer.serve())
    sys.exit(code)
