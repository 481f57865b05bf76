"""``tribrain experiment-finetune``: what selected data is worth to the next simulated world model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from runner.lab.experiment_figures import RESAMPLES
from runner.lab.experiment_plan import CONCENTRATION
from runner.lab.finetune_experiment import (
    ARMS,
    FinetuneExperimentPlan,
    FinetuneFigures,
    FinetuneResult,
    compare,
    finetune_figures,
)
from tribrain.lab.experiment import points
from tribrain.lab.finetune_plot import finetune_plot
from tribrain.lab.folder import ExperimentFolder
from tribrain.lab.workers import compute
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, FiniteFloat
from tribrain.shell.output import write_output

_PART = "finetune"


@click.command(
    cls=Command,
    epilog="Example: tribrain lab finetune --seeds 10 --out outputs/experiment-finetune",
)
@click.option(
    "--out",
    type=PATH,
    default=Path("outputs/experiment-finetune"),
    show_default=True,
    help="Where everything goes; an experiment that was ended goes on there.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="How many; may grow from one command to the next.",
)
@click.option(
    "--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="The others follow it."
)
@click.option(
    "--tasks",
    type=click.IntRange(1, 10_000),
    default=80,
    show_default=True,
    help="Runs of a round, of eight videos each.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 6),
    default=2,
    show_default=True,
    help="Trainings, one after the other, each on videos of the world model before it.",
)
@click.option(
    "--fraction",
    type=FiniteFloat(min=0.0, max=1.0, min_open=True),
    default=0.25,
    show_default=True,
    help="Share of a round's videos that each arm shows to its world model.",
)
@click.option(
    "--unseen-tasks",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="Tasks by which world models are measured.",
)
@click.option("--processes", type=click.IntRange(min=1), help="At a time; by default one a core.")
@options.plot
@options.as_json
def experiment_finetune(
    out: Path,
    seeds: int,
    first_seed: int,
    tasks: int,
    rounds: int,
    fraction: float,
    unseen_tasks: int,
    processes: int | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Fine-tune the simulated world on selected and on random videos: the same seeds, paired.

    Each arm shows as many videos of its runs: those with the highest learnt reward, those with the highest
    critics' mean, or any. Measures the true quality of the next world model on unseen tasks. All of it is
    simulated, the training included: it shows that the selection works, and says nothing of how much a real
    world model would gain. Writes experiment.json and experiment.png; whatever ends it, the same command
    goes on.
    """
    plan = FinetuneExperimentPlan(tasks=tasks, rounds=rounds, fraction=fraction, unseen_tasks=unseen_tasks)
    folder = ExperimentFolder(out, "tribrain.finetune_experiment/1", FinetuneResult)
    folder.begin({"concentration": CONCENTRATION, **asdict(plan)})
    numbers = range(first_seed, first_seed + seeds)
    compute(folder, partial(compare, plan), numbers, (_PART,), processes, "seeds")
    results = folder.read((seed, _PART) for seed in numbers)
    figures = finetune_figures(results)
    summary = _summary(plan, numbers, results, figures)
    write_output(out / "experiment.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    picture = finetune_plot(figures, plan, seeds)
    for path in (out / "experiment.png", *([plot] if plot is not None else [])):
        write_output(path, picture.png)
    if as_json:
        click.echo(orjson.dumps(summary))
    else:
        _print(figures, plan, seeds, out)


def _summary(
    plan: FinetuneExperimentPlan, seeds: range, results: Sequence[FinetuneResult], figures: FinetuneFigures
) -> dict[str, Any]:
    """What ``experiment.json`` says."""
    return {
        "seeds": len(seeds),
        "first_seed": seeds[0],
        "simulated": "the world model, its fine-tuning and the people",
        **asdict(figures),
        "videos_shown": list(results[0].arms[ARMS[0]].videos),
        "plan": asdict(plan),
        "intervals": f"95%, percentile bootstrap over seeds, {RESAMPLES} resamples",
    }


def _print(figures: FinetuneFigures, plan: FinetuneExperimentPlan, seeds: int, out: Path) -> None:
    console = Console()
    table = Table(
        title=f"True quality of the next world model (simulated): {seeds} seeds, {plan.tasks} runs a round, "
        f"{plan.fraction:.0%} of their videos shown, {plan.unseen_tasks} unseen tasks",
        title_justify="left",
    )
    table.add_column("")
    for number in range(plan.rounds):
        table.add_column(f"after round {number + 1}", justify="right", no_wrap=True)
    for arm in ARMS:
        table.add_row(f"{arm} minus before", *map(points, figures.gain[arm]), end_section=arm == ARMS[-1])
    for name, estimates in figures.difference.items():
        table.add_row(name, *map(points, estimates))
    console.print(table)
    console.print(
        f"Before: {figures.before:.3f}; quality is from 0 to 1. Brackets: 95% intervals, bootstrap over "
        "seeds. The training is simulated, too.",
        soft_wrap=True,
    )
    console.print(f"{out / 'experiment.json'}, {out / 'experiment.png'}", soft_wrap=True, highlight=False)
