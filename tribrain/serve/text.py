"""``tribrain serve text``: learns the texts of the pairs topic, and publishes text snapshots."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import click
from cloup import option_group

from tribrain.shell import measuring, options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run, say_service_plan
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import Integer, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """The values of the options of ``serve text``; each by the name of its option."""

    bootstrap_servers: str | None
    model: str
    every_pairs: int
    every_s: float
    metrics_port: int | None
    metrics_host: str
    dry_run: bool
    as_json: bool


@click.command(cls=Command, epilog="Example: tribrain serve text --bootstrap-servers 127.0.0.1:9092")
@option_group(
    "Model",
    options.model,
    click.option("--every-pairs", type=Integer(min=1), default=200, help="Publish after this many pairs …"),
    click.option(
        "--every-s",
        type=Seconds(min=0.05),
        default="10s",
        help="… or this time, if anything was learnt.",
    ),
)
@option_group(
    "Kafka, metrics and output", bootstrap_servers, measuring.metrics_port, dry_run, options.as_json
)
def serve_text(**given: Any) -> None:
    """Learn the texts of pairs live and publish text reward models; until stopped.

    It can be killed at any time and restarted anywhere: it continues from its newest snapshot and keeps
    nothing on disk. If two run for the same model, the older one ends with exit code 3. It needs a running
    tribrain serve trainer for the pairs, and no PyTorch.
    """
    chosen = TextOptions(**given)
    settings = open_kafka(chosen.bootstrap_servers, "serve text", chosen.model)
    if chosen.dry_run:
        deed = f"learn the texts of pairs of model {chosen.model!r}"
        say_service_plan(settings, deed, as_json=chosen.as_json)
        return

    # Not at the top: numba and Kafka's clients take a second, and --help needs none.
    from tribrain.serve.text_worker import serve

    with measuring.measured("text", chosen.metrics_port, chosen.metrics_host) as instruments:
        code = serve(settings, chosen, instruments)
    sys.exit(code)
