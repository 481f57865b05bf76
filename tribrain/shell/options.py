"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from streams.spool.place import FOLDER_VARIABLE
from trainers.bradley_terry.estimators import LEARNERS
from tribrain.shell.option_types import PATH, FiniteFloat, Integer
from tribrain.shell.renamed import Renamed

_C = TypeVar("_C", bound=Callable[..., Any])
_RUNS = "A run's folder, or a folder of runs (repeatable)."

runs = click.option("--runs", multiple=True, required=True, type=PATH, metavar="FOLDER", help=_RUNS)
some_runs = click.option("--runs", multiple=True, type=PATH, metavar="FOLDER", help=_RUNS)
spool_dir = click.option(
    "--spool-dir",
    type=PATH,
    metavar="FOLDER",
    show_default="the run's folder; in your state folder where that one is on a network",
    help=f"Local folder for events that wait for Kafka (or set {FOLDER_VARIABLE}).",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
plot = click.option("--plot", type=PATH, metavar="FILE.png", help="Also draw a plot into this file.")
model = click.option("--model", default="default", metavar="NAME", help="Name of the reward model.")
strategy = click.option(
    "--strategy",
    type=click.Choice(["best_vs_rest", "adjacent"]),
    default="best_vs_rest",
    help="Pair the best candidates with the rest, or each iteration with the one before.",
)
min_gap = click.option(
    "--min-gap", type=FiniteFloat(min=0.0), default=0.03, help="Least score difference of a pair."
)
top_k = click.option(
    "--top-k", type=Integer(min=1), default=1, help="Number of best candidates to pair with the rest."
)
dimension = click.option(
    "--dimension",
    default="",
    metavar="NAME",
    show_default="overall",
    help="Dimension that labels judge, e.g. physics.",
)
model_by = click.option(
    "--model-by",
    metavar="KEY",
    help="Keep one reward model, MODEL.VALUE, for each value of this context key, e.g. task_family.",
)
caption = click.option(
    "--caption",
    type=click.Choice(["goal", "prompt"]),
    default="goal",
    help="Caption videos with the goal, or with the refined prompt.",
)
base_model = click.option(
    "--base-model",
    required=True,
    metavar="NAME|FOLDER",
    help="Pretrained model to adapt: a name on the Hugging Face hub, or a folder with config.json, "
    "model.safetensors and tokenizer.json.",
)
pairs_files = click.option(
    "--pairs",
    required=True,
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Preference pairs to learn from (repeatable).",
)
pairs_file = click.option(
    "--pairs", required=True, type=PATH, metavar="FILE", help="Preference pairs to learn from."
)
candidates_file = click.option(
    "--candidates-file",
    "candidates",
    cls=Renamed,
    old=("--candidates",),
    required=True,
    type=PATH,
    metavar="FILE",
    help="Candidates of other tasks in JSON Lines: task_id, candidate_id, critic_scores {name: number or "
    "null} and human_score.",
)
replication_factor = click.option(
    "--replication-factor", type=Integer(min=1), default=1, help="Copies of each topic on the brokers."
)
link = click.option("--link", is_flag=True, help="Hard-link videos instead of copying them, where possible.")
replace = click.option("--replace", is_flag=True, help="Replace earlier output of this command.")
require_critic = click.option(
    "--require-critic",
    "required",
    multiple=True,
    metavar="NAME",
    help="Accept only videos that this critic has scored (repeatable).",
)


def out(
    text: str,
    *,
    default: Path | None = None,
    show_default: str | None = None,
    metavar: str = "FOLDER",
    old: Sequence[str] = (),
) -> Callable[[_C], _C]:
    """The option for a result's place, ``--out`` or ``-o``; required where it has no default.

    ``show_default`` names a default that depends on other options; the command then gets None.
    """
    where: dict[str, Any] = {"required": True} if default is None else {"default": default}
    if show_default is not None:
        where = {"show_default": show_default}
    return click.option(
        "--out", "-o", "out", cls=Renamed, old=old, type=PATH, metavar=metavar, help=text, **where
    )


def learner(text: str) -> Callable[[_C], _C]:
    return click.option("--learner", type=click.Choice(LEARNERS), show_default="laplace", help=text)


new_models_learner = learner("Learning algorithm of a new model; an existing model keeps its own.")


def seed(text: str = "Random seed.") -> Callable[[_C], _C]:
    return click.option("--seed", type=Integer(0), default=0, help=text)


def reward_file(text: str, *, metavar: str = "FILE", old: Sequence[str] = ()) -> Callable[[_C], _C]:
    """The option for a reward model in a file, as the parameter ``reward``."""
    return click.option("--reward", "reward", cls=Renamed, old=old, type=PATH, metavar=metavar, help=text)
