"""The options of ``tribrain serve lora``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from cloup import option_group

from trainers.lora.settings import LoraSettings
from tribrain.shell import lora_options, measuring, options
from tribrain.shell.dry_run import dry_run
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, FiniteFloat, Integer, Seconds
from tribrain.shell.renamed import Renamed

_C = TypeVar("_C", bound=Callable[..., Any])
_GROUPS = (
    option_group(
        "Model",
        options.base_model,
        options.model,
        click.option(
            "--store",
            required=True,
            metavar="FOLDER|URI",
            help="Store for adapters: a folder that runs can read, or an fsspec URI, e.g. s3://bucket/adapters.",
        ),
        lora_options.rank,
        lora_options.layers,
        lora_options.length,
    ),
    option_group(
        "When to train",
        click.option(
            "--every-pairs",
            type=Integer(min=1),
            default=200,
            help="Train after this many new pairs of people and validators …",
        ),
        click.option(
            "--every-s",
            type=Seconds(min=0.0, min_open=True),
            default="6h",
            help="… or after this time since the first new pair.",
        ),
        click.option(
            "--every-minutes", type=FiniteFloat(min=0.0, min_open=True), hidden=True, help="In minutes."
        ),
        click.option(
            "--once",
            is_flag=True,
            help="Train once if there are new pairs, then stop; exit code 4 if nothing could be trained.",
        ),
    ),
    option_group(
        "Training",
        click.option(
            "--start",
            type=click.Choice(["warm", "afresh"]),
            default="warm",
            help="Start from the last adapter with new pairs and some old ones, or from scratch with all "
            "pairs.",
        ),
        click.option(
            "--replay",
            type=FiniteFloat(min=0.0, max=1.0, max_open=True),
            default=0.5,
            help="Share of old pairs in a warm start.",
        ),
        click.option(
            "--max-pairs",
            "most_pairs",
            cls=Renamed,
            old=("--most-pairs",),
            type=Integer(min=2),
            default=4000,
            help="Use only this many of the newest pairs.",
        ),
        lora_options.lr,
        lora_options.epochs,
        lora_options.batch,
        options.seed("Random seed of initial weights and order."),
    ),
    option_group(
        "This process",
        click.option(
            "--work-dir",
            type=PATH,
            metavar="FOLDER",
            show_default="beside the folder of --store, or in ~/.cache/tribrain",
            help="Local folder for plan and checkpoint of a training.",
        ),
        click.option(
            "--niceness", type=Integer(0, 19), default=10, help="Process niceness; 19 is the lowest priority."
        ),
        click.option("--threads", type=Integer(min=1), default=1, help="Processor threads."),
        click.option(
            "--accept-new-topics",
            is_flag=True,
            help="Continue from the newest snapshot where a topic was deleted and created again.",
        ),
    ),
    option_group(
        "Kafka, metrics and output", bootstrap_servers, measuring.metrics_port, dry_run, options.as_json
    ),
)


def serve_lora_options(command: _C) -> _C:
    """Add the options whose values ``LoraOptions`` holds."""
    for group in reversed(_GROUPS):
        command = group(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraOptions:
    """The values of ``serve_lora_options``; each by the name of its option."""

    bootstrap_servers: str | None
    base_model: str
    store: str
    model: str
    rank: int
    layers: str
    length: int
    every_pairs: int
    every_s: float
    every_minutes: float | None
    once: bool
    start: Literal["warm", "afresh"]
    replay: float
    most_pairs: int
    lr: float
    epochs: int
    batch: int
    seed: int
    work_dir: Path | None
    niceness: int
    threads: int
    accept_new_topics: bool
    metrics_port: int | None
    metrics_host: str
    dry_run: bool
    as_json: bool

    @property
    def training(self) -> LoraSettings:
        return LoraSettings(
            rank=self.rank,
            layers=self.layers,
            length=self.length,
            lr=self.lr,
            epochs=self.epochs,
            batch=self.batch,
            seed=self.seed,
            threads=self.threads,
        )
