"""``tribrain lab experiment``: measures what steering by preferences gains where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson
from cloup import option_group
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
from tribrain.lab import lab_options
from tribrain.lab.experiment_plot import experiment_plot
from tribrain.lab.folder import ExperimentFolder
from tribrain.lab.workers import compute
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run
from tribrain.shell.option_types import FiniteFloat, Integer
from tribrain.shell.output import write_output
from tribrain.shell.renamed import Renamed

_TASKS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentOptions:
    """The values of the command's options, by their names."""

    out: Path
    seeds: int
    first_seed: int
    tasks: int
    learning_tasks: int | None
    iters: int
    preference_weight: float
    label_share: float
    label_noise: float
    rendered: bool
    processes: int | None
    dry_run: bool
    as_json: bool


@click.command(cls=Command, epilog="Example: tribrain lab experiment --seeds 10 --out outputs/experiment")
@option_group(
    "Experiment",
    lab_options.seeds(40),
    lab_options.first_seed,
    click.option("--tasks", type=Integer(min=2), default=_TASKS, help="Runs per seed, one after the other."),
    click.option(
        "--learning-tasks",
        type=Integer(min=0),
        show_default="5/8 of --tasks",
        help="Runs before those that are measured.",
    ),
    click.option("--iters", type=Integer(min=2), default=8, help="Iterations per run."),
)
@option_group(
    "Preferences",
    click.option(
        "--preference-weight",
        type=FiniteFloat(min=0),
        default=0.25,
        help="Preference weight of the steered runs; the others have 0.",
    ),
    click.option(
        "--outcome-share",
        "label_share",
        cls=Renamed,
        old=("--label-share",),
        type=FiniteFloat(0, 1),
        default=0.5,
        help="Share of judged videos.",
    ),
    click.option(
        "--label-noise",
        type=FiniteFloat(min=0),
        default=JUDGEMENT_NOISE,
        help="Standard deviation of a judgement around the true quality in [0, 1].",
    ),
    click.option("--rendered", is_flag=True, help="Render every video for the critics; many times slower."),
)
@option_group(
    "Processes and output",
    lab_options.processes,
    options.out("Folder of the experiment; an unfinished one continues.", default=Path("outputs/experiment")),
    dry_run,
    options.as_json,
)
def experiment(**given: Any) -> None:
    """Measure how many generations preferences save, in a simulated world whose true quality is known.

    Runs with and without preferences are compared on the same worlds and seeds: the generations needed for a
    given true quality, and the best true quality within the budget. Conditions are clean, random and flipped
    labels, a critic that fails half-way, critics whose mean is already right, four rewrites of a prompt
    instead of one, and a fifth as many votes on pairs instead of judgements, with and without the gate.
    Writes experiment.json and experiment.png. If interrupted, run the same command again: it continues.
    """
    chosen = ExperimentOptions(**given)
    plan = ExperimentPlan(
        tasks=chosen.tasks,
        learning_tasks=chosen.tasks * 5 // 8 if chosen.learning_tasks is None else chosen.learning_tasks,
        iters=chosen.iters,
        preference_weight=chosen.preference_weight,
        label_share=chosen.label_share,
        label_noise=chosen.label_noise,
        rendered=chosen.rendered,
    )
    numbers = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    names = [condition.name for condition in ALL_CONDITIONS]
    if chosen.dry_run:
        folder, kept = _folder(chosen.out), _kept(plan)
        lab_options.say_experiment_plan(folder, kept, numbers, names, as_json=chosen.as_json)
        return
    folder = begun_folder(chosen.out, plan)
    compute(
        folder,
        partial(by_condition, plan),
        numbers,
        names,
        chosen.processes,
        "seeds × conditions",
        says_lines=not chosen.as_json,
    )
    found = {name: folder.read((seed, name) for seed in numbers) for name in names}
    measured = {name: figures(results, slice(plan.learning_tasks, None)) for name, results in found.items()}
    summary = _summary(plan, numbers, found, measured)
    write_output(chosen.out / "experiment.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    picture = experiment_plot(measured, plan, chosen.seeds)
    write_output(chosen.out / "experiment.png", picture.png)
    if chosen.as_json:
        click.echo(orjson.dumps(summary))
    else:
        _print(measured, plan, chosen.seeds, chosen.out)


def begun_folder(out: Path, plan: ExperimentPlan) -> ExperimentFolder[Result]:
    """The folder of an experiment, begun or continued. Raises BadInput."""
    folder = _folder(out)
    folder.begin(_kept(plan))
    return folder


def _folder(out: Path) -> ExperimentFolder[Result]:
    return ExperimentFolder(out, "tribrain.experiment/1", Result)


def _kept(plan: ExperimentPlan) -> dict[str, Any]:
    """The plan, as the folder records it."""
    return {"concentration": CONCENTRATION, **asdict(plan)}


def _summary(
    plan: ExperimentPlan, seeds: range, found: Mapping[str, Sequence[Result]], measured: Mapping[str, Figures]
) -> dict[str, Any]:
    """The content of ``experiment.json``."""

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
    """The mean and its 95% interval, such as ``+56% [+43%, +64%]``."""
    low, high = estimate.ci95
    return f"{estimate.mean:+.0%} [{low:+.0%}, {high:+.0%}]"


def points(estimate: Estimate) -> str:
    low, high = estimate.ci95
    return f"{estimate.mean:+.3f} [{low:+.3f}, {high:+.3f}]"
