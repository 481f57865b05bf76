"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class _GivenPath(click.Path):
    """An empty text would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; expected the name of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


class FiniteFloat(click.FloatRange):
    """Click's range lets NaN through, as NaN is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


PATH = _GivenPath(path_type=Path)

bootstrap_servers = click.option(
    "--bootstrap-servers",
    envvar="TRIBRAIN_BOOTSTRAP_SERVERS",
    metavar="HOST:PORT[,…]",
    help="The Kafka broker; also taken from TRIBRAIN_BOOTSTRAP_SERVERS.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
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
model_by = click.option(
    "--model-by",
    metavar="KEY",
    help="A reward model of its own for each value of this entry of a run's context, e.g. task_family: "
    "they are called MODEL.VALUE.",
)
