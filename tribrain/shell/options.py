"""Options that several commands share."""

from __future__ import annotations

import click

from streams.spool.place import FOLDER_VARIABLE
from trainers.bradley_terry.estimators import LEARNERS
from tribrain.shell.option_types import PATH, FiniteFloat

spool_dir = click.option(
    "--spool-dir",
    envvar=FOLDER_VARIABLE,
    type=PATH,
    metavar="FOLDER",
    help=f"Where events wait for Kafka, on a local disk; also taken from {FOLDER_VARIABLE}. By default the "
    "run's folder, or one of yours on this computer where that is over a network (NFS, Lustre, …).",
)
_RUNS = "The folder of a run, or one of such folders (repeatable)."
runs = click.option("--runs", multiple=True, required=True, type=PATH, metavar="FOLDER", help=_RUNS)
some_runs = click.option("--runs", multiple=True, type=PATH, metavar="FOLDER", help=_RUNS)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
plot = click.option("--plot", type=PATH, metavar="FILE.png", help="Draw it, too, into this file.")
model = click.option("--model", default="default", show_default=True, help="The reward model's name.")
strategy = click.option(
    "--strategy",
    type=click.Choice(["best_vs_rest", "adjacent"]),
    default="best_vs_rest",
    show_default=True,
    help="The best candidates over the rest, or each iteration over the one before it.",
)
min_gap = click.option(
    "--min-gap",
    type=FiniteFloat(min=0.0),
    default=0.03,
    show_default=True,
    help="Least difference of the two scores.",
)
top_k = click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many best candidates are compared with the rest.",
)
learner = click.option(
    "--learner",
    type=click.Choice(LEARNERS),
    help="Who learns a model that begins: laplace (the default), whose confidence grows with what it has "
    "seen, or river-logistic. A model that goes on keeps its own.",
)
dimension = click.option(
    "--dimension",
    default="",
    metavar="NAME",
    help="What labels judge apart from the whole, e.g. physics; by default the whole.",
)
model_by = click.option(
    "--model-by",
    metavar="KEY",
    help="A reward model of its own for each value of this entry of a run's context, e.g. task_family: "
    "they are called MODEL.VALUE.",
)

caption = click.option(
    "--caption",
    type=click.Choice(["goal", "prompt"]),
    default="goal",
    show_default=True,
    help="The goal alone, or the prompt with the requirements that refinement added.",
)
