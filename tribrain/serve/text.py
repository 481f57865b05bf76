"""``tribrain serve-text``: the pairs topic learnt as texts, and text snapshots published."""

from __future__ import annotations

import sys

import click

from tribrain.shell import measuring, options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run, say_service_plan
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import FiniteFloat


@click.command(cls=Command, epilog="Example: tribrain serve text --bootstrap-servers 127.0.0.1:9092")
@bootstrap_servers
@options.model
@click.option(
    "--every-pairs",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Publish a snapshot after so many pairs …",
)
@click.option(
    "--every-s",
    type=FiniteFloat(min=0.05),
    default=10.0,
    show_default=True,
    help="… or after so many seconds with something learnt.",
)
@measuring.metrics_port
@dry_run
def serve_text(
    bootstrap_servers: str | None,
    model: str,
    every_pairs: int,
    every_s: float,
    metrics_port: int | None,
    metrics_host: str,
    dry_run: bool,
) -> None:
    """Learn the texts of the pairs topic as they arrive and publish text snapshots; until stopped.

    It may be killed at any time and started again, here or elsewhere: it goes on from its newest snapshot
    and keeps nothing on disk. Of two for one model the later one takes over, and the earlier one ends with
    exit code 3. Needs a serve-trainer for the pairs, and no PyTorch.
    """
    settings = open_kafka(bootstrap_servers, "serve-text", model)
    if dry_run:
        say_service_plan(settings, f"learn the texts of pairs of model {model!r}")
        return

    # Not at the top: numba and Kafka's clients take a second, and --help needs none.
    from tribrain.serve.text_worker import serve

    with measuring.measured("text", metrics_port, metrics_host) as instruments:
        code = serve(settings, model, every_pairs, every_s, instruments)
    sys.exit(code)
