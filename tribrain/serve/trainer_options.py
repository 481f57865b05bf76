"""The options of ``tribrain serve trainer``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from cloup import option_group

from streams.messages.contracts import PairStrategy
from trainers.bradley_terry.estimators import LearnerName, Recipe
from trainers.pairs.pairing import PairingRules
from tribrain.shell import measuring, options
from tribrain.shell.dry_run import dry_run
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import Integer, Seconds
from tribrain.shell.renamed import Renamed

_C = TypeVar("_C", bound=Callable[..., Any])
_GROUPS = (
    option_group("Model", options.model, options.model_by, options.new_models_learner),
    option_group(
        "Pairs",
        options.strategy,
        options.min_gap,
        options.top_k,
        click.option(
            "--run-timeout-s",
            type=Seconds(min=1.0),
            default="6h",
            help="End a run after this time without an event, while other messages are read.",
        ),
        click.option(
            "--vote-timeout-s",
            type=Seconds(min=1.0),
            default="7d",
            help="Make a vote a dead letter after waiting this long for its videos.",
        ),
    ),
    option_group(
        "Snapshots and checkpoints",
        click.option(
            "--every-pairs",
            "snapshot_every_pairs",
            cls=Renamed,
            old=("--snapshot-every-pairs",),
            type=Integer(min=1),
            default=20,
            help="Publish after this many pairs …",
        ),
        click.option(
            "--every-s",
            "snapshot_every_s",
            cls=Renamed,
            old=("--snapshot-every-s",),
            type=Seconds(min=0.05),
            default="1s",
            help="… or this time, if anything was learnt.",
        ),
        click.option(
            "--checkpoint-every-s",
            type=Seconds(min=0.05),
            default="30s",
            help="Save the learner's state after this time; a crash makes it learn again what came since.",
        ),
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


def trainer_options(command: _C) -> _C:
    """Add the options whose values ``TrainerOptions`` holds."""
    for group in reversed(_GROUPS):
        command = group(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerOptions:
    """The values of ``trainer_options``; each by the name of its option."""

    bootstrap_servers: str | None
    model: str
    strategy: PairStrategy
    min_gap: float
    top_k: int
    model_by: str | None
    learner: LearnerName | None
    run_timeout_s: float
    vote_timeout_s: float
    accept_new_topics: bool
    snapshot_every_pairs: int
    snapshot_every_s: float
    checkpoint_every_s: float
    metrics_port: int | None
    metrics_host: str
    dry_run: bool
    as_json: bool

    @property
    def rules(self) -> PairingRules:
        return PairingRules(
            strategy=self.strategy,
            min_gap=self.min_gap,
            top_k=self.top_k,
            model=self.model,
            model_by=self.model_by,
        )

    @property
    def recipe(self) -> Recipe | None:
        return Recipe(learner=self.learner) if self.learner else None
