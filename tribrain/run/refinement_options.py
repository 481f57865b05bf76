"""The options of every refinement run, on any world model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from cloup import option_group

from runner.loop.rewrites import MAX_REWRITES
from streams.messages.limits import MAX_ITERATIONS
from tribrain.run.critics import CRITIC_OPTIONS
from tribrain.shell import measuring, options
from tribrain.shell.dry_run import dry_run
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import FiniteFloat, Integer, RewardSource, Seconds, Shares
from tribrain.shell.renamed import Renamed

_C = TypeVar("_C", bound=Callable[..., Any])

_REFINEMENT = option_group(
    "Refinement",
    click.option("--iters", type=Integer(1, MAX_ITERATIONS), default=8, help="Number of iterations."),
    click.option("--candidates", type=Integer(1, MAX_REWRITES), default=1, help="Videos per iteration."),
    click.option(
        "--rewrites",
        type=Integer(1, MAX_REWRITES),
        default=1,
        help="Prompts proposed per iteration, from which --text-reward picks.",
    ),
)
_CRITICS = option_group("Critics", *CRITIC_OPTIONS, options.require_critic)
_REWARD = option_group(
    "Reward model",
    click.option(
        "--reward",
        "preference_rm",
        cls=Renamed,
        old=("--preference-rm",),
        type=RewardSource(path_type=Path),
        metavar="FILE|NAME",
        help="Reward model that steers the run: a bt_reward.json, or a name on Kafka, whose newest snapshot "
        "is followed.  [default: (with --bootstrap-servers, the model called default)]",
    ),
    click.option(
        "--preference-weight",
        type=FiniteFloat(min=0),
        default=0.25,
        help="Largest change of the critics' mean by the reward model, and the most of it a pick gives up.",
    ),
    click.option(
        "--prefer",
        type=Shares(),
        default={},
        show_default="overall=1",
        help="Weights of the judged dimensions, e.g. physics=2,quality=1; a name with a comma stands in "
        "double quotes.",
    ),
    click.option(
        "--preference-gate",
        type=click.Choice(["auto", "require", "ignore"]),
        default="auto",
        help="Steer by an active model only (require), by any (ignore), or by any file and by an active "
        "model from Kafka (auto).",
    ),
    click.option(
        "--text-reward",
        "text_rm",
        cls=Renamed,
        old=("--text-rm",),
        metavar="FILE|FOLDER|text|lora",
        help="Text reward model, which is one more critic and picks among --rewrites: a text_reward.json, an "
        "adapter's folder, or what serve text or serve lora publishes.",
    ),
    click.option(
        "--text-base-model",
        metavar="NAME|FOLDER",
        show_default="where it was in training",
        help="Base model of an adapter.",
    ),
)
_STOPPING = option_group(
    "Stopping",
    click.option("--target-score", type=FiniteFloat(0, 1), help="Stop at this critics' mean."),
    click.option("--patience", type=Integer(min=1), help="Stop after this many iterations without gain."),
    click.option(
        "--drift-threshold",
        type=FiniteFloat(0, 1),
        help="Stop if, twice in a row, a failure mode's score falls by more than this while the critics' "
        "mean rises.",
    ),
    click.option(
        "--max-wall-s",
        "max_wall",
        cls=Renamed,
        old=("--max-wall",),
        type=Seconds(min=0),
        help="Stop after this time.",
    ),
    click.option(
        "--max-failures",
        type=Integer(min=1),
        default=3,
        help="Give up, with exit code 4, after this many failed videos or critics in a row.",
    ),
)
_KAFKA = option_group("Kafka", bootstrap_servers, options.spool_dir)
_OUTPUT = option_group("Metrics and output", *measuring.OPTIONS_OF_A_RUN, dry_run, options.as_json)


def refinement_options(command: _C) -> _C:
    """Add the options that ``open_refinement`` takes, but for the reward model's old name, and ``--json``."""
    for group in (_OUTPUT, _KAFKA, _STOPPING, _REWARD, _CRITICS, _REFINEMENT):
        command = group(command)
    return command


def reward_name(spelling: str) -> Callable[[_C], _C]:
    """The hidden option that is an earlier spelling of a name on Kafka in ``--reward``."""
    return click.option(spelling, "model", default="default", hidden=True, help="Name of the reward model.")
