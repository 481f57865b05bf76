"""Pictures for a dataset's card: the videos that it was chosen from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from streams.errors import counted
from trainers.datasets.rewards import RatedSample
from tribrain.figures.plots import CRITICS, MODEL, Picture, new_figure, plain, png, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 24


def rewards_plot(distinct: Sequence[RatedSample], chosen: Sequence[RatedSample]) -> Picture:
    """A histogram of rewards: of all distinct videos, and of the chosen ones."""
    figure, axes = _figure()
    rewards = [sample.reward for sample in distinct] or [0.5]
    low, high = min(rewards), max(rewards)
    edges = np.linspace(low, high if high > low else low + 0.01, _BINS + 1)
    axes.hist([s.reward for s in distinct], bins=edges.tolist(), color="#cccccc", label="distinct videos")
    axes.hist([s.reward for s in chosen], bins=edges.tolist(), color=MODEL, label="chosen")
    axes.set_xlabel("reward")
    axes.set_ylabel("videos")
    axes.legend(frameon=False, fontsize=9)
    mean = float(np.mean([s.reward for s in chosen])) if chosen else float("nan")
    return Picture(
        png(figure),
        f"Histogram of the reward of {counted(len(distinct), 'distinct video')}, "
        f"{len(chosen)} of them chosen, "
        f"with a mean of {mean:.3f}",
    )


def tasks_plot(distinct: Sequence[RatedSample], chosen: Sequence[RatedSample]) -> Picture:
    """A bar chart of the tasks by their number of videos, before and after the choice."""
    figure, axes = _figure()
    before, after = (Counter(sample.task for sample in group) for group in (distinct, chosen))
    most = max(before.values(), default=1)
    places = np.arange(most + 1)
    for counts, shift, colour, label in (
        (before, -0.2, CRITICS, "distinct"),
        (after, 0.2, MODEL, "chosen"),
    ):
        per_task = Counter(counts.get(task, 0) for task in before)
        axes.bar(places + shift, [per_task[n] for n in range(most + 1)], width=0.4, color=colour, label=label)
    axes.set_xlabel("videos of a task")
    axes.set_ylabel("tasks")
    whole_numbers(axes.xaxis)
    axes.legend(frameon=False, fontsize=9)
    return Picture(
        png(figure),
        f"Bar chart of the videos of {counted(len(before), 'task')}, {len(after)} of them with a chosen one",
    )


def _figure() -> tuple[Figure, Axes]:
    figure = new_figure(5.8, 3.2)
    axes = figure.add_subplot()
    plain(axes)
    whole_numbers(axes.yaxis)
    return figure, axes
