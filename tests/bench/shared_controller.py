"""``python -m tests.bench.shared_controller``: suites whose runs share a controller, and whose do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import click
import numpy as np
import orjson

from runner.lab.experiment import SeedExperiment
from runner.lab.experiment_figures import Estimate, Numbers, estimate
from runner.lab.experiment_plan import CONDITIONS, ExperimentPlan
from streams.messages.contracts import TraceEvent
from tribrain.shell import options

CLEAN = CONDITIONS[0]
SHARED, ALONE, DIFFERENCE = "shared", "alone", "shared over alone"


@click.command(epilog="Example: python -m tests.bench.shared_controller --seeds 20 --tasks 40")
@click.option("--seeds", type=click.IntRange(min=2), default=20, show_default=True, help="Suites.")
@click.option("--tasks", type=click.IntRange(min=1), default=40, show_default=True, help="Runs of a suite.")
@click.option("--iters", type=click.IntRange(min=2), default=8, show_default=True, help="Videos of a run.")
@options.as_json
def bench(seeds: int, tasks: int, iters: int, as_json: bool) -> None:
    """What a controller that runs share gains in the simulated world over one that begins anew with each run.

    A run's gain is the critics' score of its best video minus that of its first. The same tasks and seeds,
    one run after the other, without preferences; 95% intervals by a bootstrap over suites.
    """
    plan = ExperimentPlan(tasks=tasks, learning_tasks=0, iters=iters)
    gains = np.array([_gains(plan, seed) for seed in range(seeds)])  # (seeds, 2)
    said = {
        SHARED: _mean(gains[:, 0]),
        ALONE: _mean(gains[:, 1]),
        DIFFERENCE: _mean(gains[:, 0] - gains[:, 1]),
    }
    if as_json:
        click.echo(orjson.dumps({name: asdict(of) for name, of in said.items()} | {"seeds": seeds}))
        return
    click.echo(f"{seeds} suites of {tasks} runs with {iters} videos: gain in critics' score, from 0 to 1")
    for name, of in said.items():
        low, high = of.ci95
        click.echo(f"  {name}: {of.mean:+.4f} [{low:+.4f}, {high:+.4f}]")


def _gains(plan: ExperimentPlan, seed: int) -> tuple[float, float]:
    """The mean gain of the runs of one suite, with a controller that they share and with one of their own."""
    shared, _ = SeedExperiment(plan, seed).arm(CLEAN, 0.0)
    alone: list[list[TraceEvent]] = []
    for task in range(plan.tasks):
        own, _ = SeedExperiment(replace(plan, tasks=1), seed, first_task=task).arm(CLEAN, 0.0)
        alone += own
    return _mean_gain(shared), _mean_gain(alone)


def _mean_gain(runs: Sequence[Sequence[TraceEvent]]) -> float:
    return float(np.mean([run[-1].meta["best_score"] - run[0].meta["critic_reward"] for run in runs]))


def _mean(by_seed: Numbers) -> Estimate:
    return estimate(lambda drawn: by_seed[drawn].mean(axis=1), len(by_seed))


if __name__ == "__main__":
    bench()
