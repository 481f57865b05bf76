"""Prints an evaluation on held-out pairs: a table of figures, and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from streams.errors import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of pairs, by their names in --json."""

    n_train: int
    n_test: int
    n_ties: int
    n_critic_labels: int
    """Number of held-out pairs whose label is the critics' own score."""
    n_shared_tasks: int | None
    """Number of tasks in both files; None for a finished model, whose tasks are not known."""


def print_table(results: Mapping[str, Mapping[str, Any]], counts: Counts) -> None:
    """Print the table; ``results`` is the name of a learner or model to its ``figures``."""
    kinds = {"ties": counts.n_ties, "labels by the critics": counts.n_critic_labels}
    of_which = "; ".join(f"{kind}: {n:,}" for kind, n in kinds.items() if n)
    pairs = counted(counts.n_test, "pair") + (f" ({of_which})" if of_which else "")
    table = Table(title=f"measured on {pairs}, after {counts.n_train:,} learnt")
    with_ties = ("with ties",) if counts.n_ties else ()
    for column in ("", "accuracy", "log loss [95%]", "ECE", "after 100", "SD of orders", *with_ties):
        table.add_column(column)
    for name, of in results.items():
        after = of["log_loss_after_100"]
        table.add_row(
            name,
            f"{of['accuracy']:.3f}",
            _with_interval(of["log_loss"], of["log_loss_ci95"]),
            f"{of['ece']:.3f}",
            _or_dash(after),
            "–" if after is None else f"{of['log_loss_sd_over_orders']:.4f}",
            *[_or_dash(of["log_loss_with_ties"]) for _ in with_ties],
        )
    Console().print(table)


def warn(results: Mapping[str, Mapping[str, Any]], counts: Counts) -> None:
    """Warn on standard error where the figures mean less than they seem to."""
    if counts.n_critic_labels:
        click.echo(
            f"held-out labels that are the critics' own scores: {counts.n_critic_labels:,} of "
            f"{counts.n_test:,}; on these, the figures say how well a model imitates its critics, not what "
            "people prefer",
            err=True,
        )
    if any(of["log_loss_ci95"] is None for of in results.values()):
        click.echo("all pairs are of one task, which has no intervals", err=True)
    if counts.n_shared_tasks:
        shared = f"tasks in both files: {counts.n_shared_tasks:,}"
        click.echo(f"{shared}, so the figures flatter; keep tasks apart", err=True)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with_interval(value: float, interval: Sequence[float] | None) -> str:
    if interval is None:
        return f"{value:.3f}"
    low, high = np.round(interval, 3)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
