"""The options of ``tribrain data finetune``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from cloup import option_group

from runner.finetune.tasks import MOST_SIMULATED
from trainers.datasets.captions import CaptionKind
from trainers.datasets.formats import FORMATS, DatasetFormat
from tribrain.data.finetune_wow import OPTIONS, WOW_TRAINING
from tribrain.run.critics import CRITIC_OPTIONS
from tribrain.shell import options
from tribrain.shell.dry_run import dry_run
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, Integer, Seconds
from tribrain.shell.renamed import Renamed

SIMULATED_TASKS = 40
"""Number of goals that checkpoints of the simulated world are compared on."""
_C = TypeVar("_C", bound=Callable[..., Any])
_GROUPS = (
    option_group(
        "Runs and results",
        click.option("--runs", required=True, type=PATH, metavar="FOLDER", help="Folder of runs."),
        click.option(
            "--out",
            "-o",
            "work",
            cls=Renamed,
            old=("--work",),
            required=True,
            type=PATH,
            metavar="FOLDER",
            help="Folder for datasets, checkpoints and comparisons.",
        ),
        click.option(
            "--once",
            is_flag=True,
            help="Train once if there are new videos, then stop; exit code 4 if nothing could be trained or "
            "compared.",
        ),
    ),
    option_group(
        "Dataset",
        click.option(
            "--policy",
            "policy",
            cls=Renamed,
            old=("--dataset-policy",),
            default="top:0.25",
            metavar="POLICY",
            help="Which videos to select: all, top:0.25, min:0.6, per-task:2 or random:0.25@0.",
        ),
        click.option(
            "--every", type=Integer(min=1), default=200, help="Train after this many new selected videos."
        ),
        options.reward_file(
            "A bt_reward.json that rates videos and judges checkpoints.  [default: the newest active model "
            "on Kafka, else the critics' mean]"
        ),
        options.model,
        click.option(
            "--format",
            "dataset_format",
            type=click.Choice(FORMATS),
            show_default="diffsynth; wow-wan with --train wow-wan",
            help="Dataset format.",
        ),
        options.caption,
    ),
    option_group(
        "Training",
        click.option(
            "--train",
            type=click.Choice(["wow-wan"]),
            help="WoW's own LoRA training of wan-14b, which also makes the compared videos; in place of "
            "--train-cmd.",
        ),
        click.option(
            "--train-cmd",
            metavar="COMMAND",
            help="Training command; {dataset}, {out}, {base} (last checkpoint) and {runs} become arguments.",
        ),
        click.option(
            "--train-timeout-s",
            type=Seconds(min=0, min_open=True),
            default="7d",
            help="Time limit of one training.",
        ),
        click.option("--base", default="", metavar="PATH", show_default="none", help="First checkpoint."),
    ),
    option_group("Training with --train wow-wan", *WOW_TRAINING),
    option_group(
        "Comparison of checkpoints",
        click.option(
            "--world",
            type=click.Choice(["simulated"]),
            help="World model whose checkpoints are compared; in place of --generate-cmd.",
        ),
        click.option(
            "--generate-cmd",
            metavar="COMMAND",
            help="Generator command; {checkpoint}, {prompt}, {seed}, {out_dir} and {image} become arguments.",
        ),
        click.option(
            "--prompts",
            type=PATH,
            metavar="FILE",
            help="Prompts to compare on, which no training sees: one a line, or WoW's JSON Lines (*.jsonl).",
        ),
        click.option(
            "--compare-tasks",
            type=Integer(1, MOST_SIMULATED),
            show_default=str(SIMULATED_TASKS),
            help="simulated: number of goals to compare on.",
        ),
        click.option(
            "--compare-seeds",
            type=Integer(min=1),
            default=2,
            help="Videos per prompt; more of them detect a smaller difference.",
        ),
        click.option(
            "--max-failures",
            type=Integer(min=1),
            default=3,
            help="Give up a comparison after this many failed videos or critics in a row; without --once, "
            "give up, with exit code 4, after as many failed trainings or comparisons in a row.",
        ),
        click.option(
            "--retry-s",
            type=Seconds(min=0),
            default="10m",
            help="Without --once: wait this long before a failed training or comparison is tried again.",
        ),
        click.option(
            "--timeout-s", type=Seconds(min=0, min_open=True), default="1h", help="Time limit of one video."
        ),
    ),
    option_group("Critics", *CRITIC_OPTIONS),
    option_group("Kafka and output", bootstrap_servers, dry_run, options.as_json),
)


def finetune_options(command: _C) -> _C:
    for group in reversed(_GROUPS):
        command = group(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions:
    """The values of ``finetune_options``; each by the name of its option."""

    bootstrap_servers: str | None
    runs: Path
    model: str
    work: Path
    policy: str
    every: int
    once: bool
    reward: Path | None
    dataset_format: DatasetFormat | None
    caption: CaptionKind
    train: str | None
    train_cmd: str | None
    train_timeout_s: float
    base: str
    world: str | None
    generate_cmd: str | None
    prompts: Path | None
    compare_tasks: int | None
    compare_seeds: int
    max_failures: int
    retry_s: float
    timeout_s: float
    dry_run: bool
    as_json: bool
    critics: Sequence[str]
    no_pixel_critics: bool
    critic_timeout_s: float
    wow: Mapping[str, Any]
    """Options of WoW's training, by the names in ``OPTIONS``; None for those that were not given."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> FinetuneOptions:
        wow = {name: given[name] for name in OPTIONS}
        return cls(wow=wow, **{name: value for name, value in given.items() if name not in wow})
