"""``tribrain lab finetune``: measures what selected data gains for the next simulated world model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson
from cloup import option_group
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
from streams.errors import counted
from tribrain.lab import lab_options
from tribrain.lab.experiment import points
from tribrain.lab.finetune_plot import finetune_plot
from tribrain.lab.folder import ExperimentFolder
from tribrain.lab.workers import compute
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run
from tribrain.shell.option_types import PATH, FiniteFloat, Integer
from tribrain.shell.output import write_output
from tribrain.shell.renamed import Renamed

_PART = "finetune"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneExperimentOptions:
    """The values of the command's options, by their names."""

    out: Path
    seeds: int
    first_seed: int
    tasks: int
    rounds: int
    fraction: float
    unseen_tasks: int
    processes: int | None
    plot: Path | None
    dry_run: bool
    as_json: bool


@click.command(
    cls=Command,
    epilog="Example: tribrain lab finetune --seeds 10 --out outputs/experiment-finetune",
)
@option_group(
    "Experiment",
    lab_options.seeds(20),
    lab_options.first_seed,
    click.option("--tasks", type=Integer(1, 10_000), default=80, help="Runs per round, of 8 videos each."),
    click.option(
        "--rounds",
        type=Integer(1, 6),
        default=2,
        help="Trainings in a row, each on videos of the world model before.",
    ),
    click.option(
        "--top-fraction",
        "fraction",
        cls=Renamed,
        old=("--fraction",),
        type=FiniteFloat(min=0.0, max=1.0, min_open=True),
        default=0.25,
        help="Share of a round's videos that each arm trains on.",
    ),
    click.option(
        "--unseen-tasks", type=Integer(1, 10_000), default=200, help="Tasks to measure world models on."
    ),
)
@option_group(
    "Processes and output",
    lab_options.processes,
    options.out(
        "Folder of the experiment; an unfinished one continues.",
        default=Path("outputs/experiment-finetune"),
    ),
    click.option(
        "--plot", type=PATH, metavar="FILE.png", help="Write the plot, experiment.png, into this file, too."
    ),
    dry_run,
    options.as_json,
)
def experiment_finetune(**given: Any) -> None:
    """Measure what selected training videos are worth to the next simulated world model.

    Each arm trains on as many videos: those with the highest learnt reward, those with the highest critics'
    mean, or random ones, with the same seeds. The true quality of the next world model is measured on unseen
    tasks. Everything is simulated, the training included: it shows that the selection works, and not how much
    a real world model would gain. Writes experiment.json and experiment.png. If interrupted, run the same
    command again: it continues.
    """
    chosen = FinetuneExperimentOptions(**given)
    plan = FinetuneExperimentPlan(
        tasks=chosen.tasks, rounds=chosen.rounds, fraction=chosen.fraction, unseen_tasks=chosen.unseen_tasks
    )
    folder = ExperimentFolder(chosen.out, "tribrain.finetune_experiment/1", FinetuneResult)
    numbers = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    kept = {"concentration": CONCENTRATION, **asdict(plan)}
    if chosen.dry_run:
        lab_options.say_experiment_plan(folder, kept, numbers, (_PART,), as_json=chosen.as_json)
        return
    folder.begin(kept)
    compute(
        folder,
        partial(compare, plan),
        numbers,
        (_PART,),
        chosen.processes,
        "seeds",
        says_lines=not chosen.as_json,
    )
    results = folder.read((seed, _PART) for seed in numbers)
    figures = finetune_figures(results)
    summary = _summary(plan, numbers, results, figures)
    write_output(chosen.out / "experiment.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    picture = finetune_plot(figures, plan, chosen.seeds)
    for path in (chosen.out / "experiment.png", *([chosen.plot] if chosen.plot is not None else [])):
        write_output(path, picture.png)
    if chosen.as_json:
        click.echo(orjson.dumps(summary))
    else:
        _print(figures, plan, chosen.seeds, chosen.out)


def _summary(
    plan: FinetuneExperimentPlan, seeds: range, results: Sequence[FinetuneResult], figures: FinetuneFigures
) -> dict[str, Any]:
    """The content of ``experiment.json``."""
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
        title=f"True quality of the next world model (simulated): {counted(seeds, 'seed')}, "
        f"{counted(plan.tasks, 'run')} a round, "
        f"{plan.fraction:.0%} of their videos shown, {counted(plan.unseen_tasks, 'unseen task')}",
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
