"""The experiment's picture: how quality grows in both arms, and the gain in every condition."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from runner.lab.experiment_figures import Estimate, Figures
from runner.lab.experiment_plan import CONDITIONS, ExperimentPlan
from streams.errors import counted
from tribrain.figures.plots import CRITICS, MODEL, Picture, new_figure, plain, png, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = "clean"


def experiment_plot(measured: Mapping[str, Figures], plan: ExperimentPlan, seeds: int) -> Picture:
    """Three panels: the curves of the clean condition, generations saved, and quality gained."""
    from matplotlib.ticker import PercentFormatter

    figure = new_figure(13.2, 4.6)
    curves, saved, gained = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _draw_curves(curves, measured[_SHOWN])
    main = [condition.name for condition in CONDITIONS]
    draw_estimates(saved, {name: these.generations_saved for name, these in measured.items()}, "+.0%", main)
    saved.set_title("generations saved", fontsize=11)
    saved.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    saved.set_xlabel("of those that critics alone need")
    draw_estimates(
        gained, {name: these.best_true_quality_gain for name, these in measured.items()}, "+.3f", main
    )
    gained.set_title(f"gain in best true quality within {plan.iters} generations", fontsize=11)
    gained.set_xlabel("steered minus critics alone; from 0 to 1")
    gained.tick_params(labelleft=False)
    figure.suptitle(
        f"Preference weight {plan.preference_weight:g} against 0, the same worlds and seeds: {seeds} seeds, "
        f"{counted(plan.tasks - plan.learning_tasks, 'task')} each after {plan.learning_tasks} for learning; "
        "95% intervals over seeds",
        fontsize=10,
    )
    told = "; ".join(
        f"{name}: {these.generations_saved.mean:+.0%} generations saved, "
        f"quality {these.best_true_quality_gain.mean:+.3f}"
        for name, these in measured.items()
    )
    return Picture(png(figure), f"Line chart of the true quality over generations in both arms, and {told}.")


def _draw_curves(axes: Axes, these: Figures) -> None:
    plain(axes)
    generations = np.arange(1, len(these.curves["steered"]) + 1)
    for arm, label, colour, line, marker in (
        ("critics_alone", "critics alone", CRITICS, "--", "s"),
        ("steered", "steered", MODEL, "-", "o"),
    ):
        axes.plot(
            generations,
            these.curves[arm],
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=4,
            label=label,
        )
    first, last = these.generations_needed["steered"], these.generations_needed["critics_alone"]
    if last - first > 0.2:
        level = these.given_true_quality
        axes.annotate(
            "", (first, level), xytext=(last, level), arrowprops={"arrowstyle": "->", "color": "#333333"}
        )
        axes.annotate(
            f"{last:.1f} → {first:.1f} generations",
            (last, level),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right",
            fontsize=9,
        )
    axes.set_title(f"{_SHOWN}: true quality of the best video so far", fontsize=11)
    axes.set_xlabel("generations")
    axes.set_ylabel("mean over seeds and tasks")
    whole_numbers(axes.xaxis)
    axes.legend(loc="upper left")


def draw_estimates(
    axes: Axes, estimates: Mapping[str, Estimate], written: str, main: Collection[str]
) -> None:
    """Draw one row per estimate, from the top: mean and interval, the mean in figures too.

    Those in ``main`` are in colour.
    """
    plain(axes)
    for row, (name, estimate) in enumerate(estimates.items()):
        colour = MODEL if name in main else "#777777"
        axes.plot(estimate.ci95, [row, row], color=colour, linewidth=2.2)
        axes.plot(estimate.mean, row, color=colour, marker="o", markersize=6)
        axes.annotate(
            format(estimate.mean, written),
            (estimate.ci95[1], row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
        )
    axes.axvline(0.0, color="#333333", linewidth=0.9, zorder=0.9)
    axes.set_yticks(range(len(estimates)), list(estimates))
    axes.set_ylim(len(estimates) - 0.5, -0.7)
    axes.margins(x=0.25)
