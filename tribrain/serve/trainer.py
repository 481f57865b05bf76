"""``tribrain serve trainer``: forms and learns pairs while runs go on."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from tribrain.serve.trainer_options import TrainerOptions, trainer_options
from tribrain.shell import measuring
from tribrain.shell.command import Command
from tribrain.shell.dry_run import say_service_plan
from tribrain.shell.kafka_access import open_kafka


@click.command(cls=Command, epilog="Example: tribrain serve trainer --bootstrap-servers 127.0.0.1:9092")
@trainer_options
def serve_trainer(**given: Any) -> None:
    """Learn preferences live from traces and votes, and publish reward models; until stopped.

    It can be killed at any time and restarted anywhere: it continues from the newest checkpoint and the
    offsets on Kafka, and keeps nothing on disk. Trainers of one model share the work; trainers of different
    models learn independently from the same runs.
    """
    chosen = TrainerOptions(**given)
    settings = open_kafka(chosen.bootstrap_servers, "serve trainer", chosen.model)
    if chosen.dry_run:
        deed = f"form {chosen.strategy} pairs and learn model {chosen.model!r}"
        say_service_plan(settings, deed, as_json=chosen.as_json)
        return

    # Not at the top: Faust and Kafka's clients take a second, and --help needs none.
    from streams.kafka.topics import create_topics
    from trainers.online.learner import load_learner
    from tribrain.serve.trainer_metrics import TrainerMetrics
    from tribrain.serve.trainer_worker import TrainerWorker

    # Not at the first pair, when the consumer group would wait for it.
    load_learner(chosen.recipe)
    with measuring.measured("trainer", chosen.metrics_port, chosen.metrics_host) as instruments:
        metrics = TrainerMetrics(settings, instruments)
        instruments.health = metrics.condition
        create_topics(settings)
        asyncio.run(TrainerWorker(settings, chosen, metrics).serve())
