"""The picture of ``lab finetune``: quality over the rounds, and differences between the arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.lab.finetune_experiment import (
    ARMS,
    CRITICS,
    RANDOM,
    REWARD,
    FinetuneExperimentPlan,
    FinetuneFigures,
)
from streams.errors import counted
from tribrain.figures.plots import CRITICS as CRITICS_COLOUR
from tribrain.figures.plots import MODEL, Picture, new_figure, plain, png, whole_numbers
from tribrain.lab.experiment_plot import draw_estimates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {
    REWARD: ("highest learnt reward", MODEL, "-", "o"),
    CRITICS: ("highest critics' mean", CRITICS_COLOUR, "--", "s"),
    RANDOM: ("drawn at random", "#777777", ":", "^"),
}


def finetune_plot(figures: FinetuneFigures, plan: FinetuneExperimentPlan, seeds: int) -> Picture:
    """Two panels: the true quality after each round, and the differences after the last one."""
    figure = new_figure(10.4, 4.4)
    curves, differences = figure.subplots(1, 2, width_ratios=(1.1, 1))
    _draw_curves(curves, figures)
    last = {name: estimates[-1] for name, estimates in figures.difference.items()}
    draw_estimates(differences, last, "+.4f", [f"{REWARD} minus {RANDOM}"])
    differences.set_title(f"difference after round {plan.rounds}", fontsize=11)
    differences.set_xlabel("true quality, from 0 to 1")
    figure.suptitle(
        f"Fine-tuning the simulated world on {plan.fraction:.0%} of its videos: {counted(seeds, 'seed')}, "
        f"{counted(plan.tasks, 'run')} a round, {counted(plan.unseen_tasks, 'unseen task')}; "
        "95% intervals over seeds",
        fontsize=10,
    )
    told = "; ".join(f"{name} {estimate.mean:+.4f}" for name, estimate in last.items())
    return Picture(
        png(figure),
        f"Line chart of the next simulated world model's true quality after each round, and {told}.",
    )


def _draw_curves(axes: Axes, figures: FinetuneFigures) -> None:
    plain(axes)
    for arm in ARMS:
        label, colour, line, marker = _LOOKS[arm]
        values = (figures.before, *figures.quality[arm])
        axes.plot(
            range(len(values)),
            values,
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=5,
            label=label,
        )
    axes.set_title("true quality on unseen tasks", fontsize=11)
    axes.set_xlabel("rounds of fine-tuning")
    axes.set_ylabel("mean over seeds")
    whole_numbers(axes.xaxis)
    axes.legend(loc="upper left")
