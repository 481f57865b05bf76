"""``tribrain experiment``: what steering by preferences is worth, measured where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from runner.lab.experiment import by_condition
from runner.lab.experiment_figures import RESAMPLES, Estimate, Figures, figures
from runner.lab.experiment_plan import (
    ALL_CONDITIONS,
    CONCENTRATION,
    CONDITIONS,
    REWRITES,
    SENSITIVITY,
    VOTES,
    ExperimentPlan,
    Result,
)
from runner.worlds.simulated import JUDGEMENT_NOISE
from tribrain.lab.experiment_plot import experiment_plot
from tribrain.lab.folder import ExperimentFolder
from tribrain.lab.workers import compute
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, FiniteFloat
from tribrain.shell.output import write_output

_TASKS = 160


@click.command(cls=Command, epilog="Example: tribrain lab experiment --seeds 10 --out outputs/experiment")
@click.option(
    "--out",
    type=PATH,
    default=Path("outputs/experiment"),
    show_default=True,
    help="Where everything goes; an experiment that was ended goes on there.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    default=40,
    show_default=True,
    help="How many; may grow from one command to the next.",
)
@click.option(
    "--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="The others follow it."
)
@click.option(
    "--tasks", type=click.IntRange(min=2), default=_TASKS, show_default=True, help="Runs of a seed, in a row."
)
@click.option(
    "--learning-tasks",
    type=click.IntRange(min=0),
    help="So many come before those that are measured; by default five eighths of the tasks.",
)
@click.option(
    "--iters",
    type=click.IntRange(min=2),
    default=8,
    show_default=True,
    help="Generations of a run, the budget.",
)
@click.option(
    "--preference-weight",
    type=FiniteFloat(min=0),
    default=0.25,
    show_default=True,
    help="Of the steered arm; the other has 0.",
)
@click.option(
    "--label-share",
    type=FiniteFloat(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the videos that are judged.",
)
@click.option(
    "--label-noise",
    type=FiniteFloat(min=0),
    default=JUDGEMENT_NOISE,
    show_default=True,
    help="Standard deviation of a judgement around the true quality, which is from 0 to 1.",
)
@click.option("--rendered", is_flag=True, help="Make every video for the critics to see: many times slower.")
@click.option("--processes", type=click.IntRange(min=1), help="At a time; by default one a core.")
@options.as_json
def experiment(
    out: Path,
    seeds: int,
    first_seed: int,
    tasks: int,
    learning_tasks: int | None,
    iters: int,
    preference_weight: float,
    label_share: float,
    label_noise: float,
    rendered: bool,
    processes: int | None,
    as_json: bool,
) -> None:
    """Compare runs with and without preferences: the same simulated worlds and seeds, paired.

    Measures the generations needed for a given true quality, and the best true quality within the budget:
    with labels that are clean, garbage or flipped, with a critic that fails half-way, where the critics'
    mean is right already, with four rewrites of a prompt against one, and with a fifth as many votes on pairs
    in place of judgements, with and without the gate. Writes experiment.json and
    experiment.png. Whatever ends it, the same command goes on.
    """
    plan = ExperimentPlan(
        tasks=tasks,
        learning_tasks=tasks * 5 // 8 if learning_tasks is None else learning_tasks,
        iters=iters,
        preference_weight=preference_weight,
        label_share=label_share,
        label_noise=label_noise,
        rendered=rendered,
    )
    folder = begun_folder(out, plan)
    numbers = range(first_seed, first_seed + seeds)
    names = [condition.name for condition in ALL_CONDITIONS]
    compute(folder, partial(by_condition, plan), numbers, names, processes, "seeds × conditions")
    found = {name: folder.read((seed, name) for seed in numbers) for name in names}
    measured = {name: figures(results, slice(plan.learning_tasks, None)) for name, results in found.items()}
    summary = _summary(plan, numbers, found, measured)
    write_output(out / "experiment.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    picture = experiment_plot(measured, plan, seeds)
    write_output(out / "experiment.png", picture.png)
    if as_json:
        click.echo(orjson.dumps(summary))
    else:
        _print(measured, plan, seeds, out)


def begun_folder(out: Path, plan: ExperimentPlan) -> ExperimentFolder[Result]:
    """The folder of an experiment that begins or goes on. Raises BadInput."""
    folder = ExperimentFolder(out, "tribrain.experiment/1", Result)
    folder.begin({"concentration": CONCENTRATION, **asdict(plan)})
    return folder


def _summary(
    plan: ExperimentPlan, seeds: range, found: Mapping[str, Sequence[Result]], measured: Mapping[str, Figures]
) -> dict[str, Any]:
    """What ``experiment.json`` says."""

    def told(name: str) -> dict[str, Any]:
        everything = figures(found[name], slice(None))
        return {
            **asdict(measured[name]),
            "learning_tasks": _short(figures(found[name], slice(plan.learning_tasks)))
            if plan.learning_tasks
            else None,
            "all_tasks": _short(everything),
        }

    return {
        "seeds": len(seeds),
        "conditions": {condition.name: told(condition.name) for condition in CONDITIONS},
        "sensitivity": {condition.name: told(condition.name) for condition in SENSITIVITY},
        "rewrites": {condition.name: told(condition.name) for condition in REWRITES},
        "votes": {condition.name: told(condition.name) for condition in VOTES},
        "first_seed": seeds[0],
        "plan": asdict(plan),
        "intervals": f"95%, percentile bootstrap over seeds, {RESAMPLES} resamples",
    }


def _short(these: Figures) -> dict[str, Any]:
    return {
        "generations_saved": asdict(these.generations_saved),
        "best_true_quality_gain": asdict(these.best_true_quality_gain),
    }


def _print(measured: Mapping[str, Figures], plan: ExperimentPlan, seeds: int, out: Path) -> None:
    console = Console()
    table = Table(
        title=f"Preference weight {plan.preference_weight:g} against 0: {seeds} seeds, tasks "
        f"{plan.learning_tasks + 1} to {plan.tasks}, {plan.iters} generations",
        title_justify="left",
    )
    table.add_column("condition")
    for name in ("generations saved", "gain in best true quality", "steered"):
        table.add_column(name, justify="right", no_wrap=True)
    for condition in ALL_CONDITIONS:
        these = measured[condition.name]
        table.add_row(
            condition.name,
            percent(these.generations_saved),
            points(these.best_true_quality_gain),
            f"{these.seeds_steered} of {seeds}",
            end_section=condition in (CONDITIONS[-1], SENSITIVITY[-1], REWRITES[-1]),
        )
    console.print(table)
    console.print(
        "Brackets: 95% intervals, bootstrap over seeds. Quality is from 0 to 1. Steered: seeds in which the "
        "gate opened. Noise of the labels and share of the videos that have one: otherwise as clean. "
        "Rewrites: a reward of texts picks one of so many prompts, against one prompt; both steered. "
        "Votes, half random, all random: a fifth as many votes on pairs in place of judgements, as the page "
        "asks for them, or drawn at random. No gate: the model steers from the second run on.",
        soft_wrap=True,
    )
    console.print(f"{out / 'experiment.json'}, {out / 'experiment.png'}", soft_wrap=True, highlight=False)


def percent(estimate: Estimate) -> str:
    """Such as ``+56% [+43%, +64%]``."""
    low, high = estimate.ci95
    return f"{estimate.mean:+.0%} [{low:+.0%}, {high:+.0%}]"


def points(estimate: Estimate) -> str:
    low, high = estimate.ci95
    return f"{estimate.mean:+.3f} [{low:+.3f}, {high:+.3f}]"
