"""The plots of reports: how runs went, and how a model learnt while they did."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tribrain.figures.drawing import ACCENT, INK, LINE, QUIET, Drawing, style, svg
from tribrain.figures.plots import new_figure, plain, whole_numbers

if TYPE_CHECKING:  # takes half a second, which only drawing needs
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN, _HEIGHT_IN = 4.7, 2.9
"""Size of a plot: as wide as a phone's screen at a scale of 1, so that type keeps its size."""
_STYLES = ((INK, "--", "s"), (ACCENT, "-", "o"))
_TICKS = 8
_COURSE = "A run that has stopped keeps its best. Mean over runs; the band is its standard error."
_FEW = 20
"""Largest number of points that each get a marker."""

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Curve:
    """One group of runs: mean and standard error per iteration; NaN where no run has a value."""

    name: str
    n_runs: int
    mean: tuple[float, ...]
    error: tuple[float, ...]
    """Standard error; 0 for a single run, whose error is not known."""


@dataclass(frozen=True, slots=True)
class LearningStep:
    """The figures of one published snapshot that the plots over trusted pairs need."""

    trusted_pairs: int
    log_loss: float | None
    log_loss_critics_mean: float | None
    evidence: float
    active: bool


def mean_curve(name: str, courses: Sequence[Values], length: int) -> Curve:
    """The mean of the courses at each of ``length`` iterations.

    A shorter course keeps its last value: a run that has stopped keeps its best video. None counts
    as no value, and a course without values as no run.
    """
    known = [course for course in courses if any(value is not None for value in course)]
    columns: list[list[float]] = [[] for _ in range(length)]
    for course in known:
        for index in range(length):
            value = course[min(index, len(course) - 1)]
            if value is not None:
                columns[index].append(value)
    return Curve(
        name,
        len(known),
        tuple(float(np.mean(column)) if column else math.nan for column in columns),
        tuple(_standard_error(column) for column in columns),
    )


def course_plot(
    title: str, curves: Sequence[Curve], *, caption: str = "", counted: str = "iteration"
) -> Drawing | None:
    """A plot of one line per group, the first of two dashed; None where no group has a run.

    ``caption`` describes a line, and ``counted`` labels the x axis. A group looks the same whether or not the
    others have runs.
    """
    styles = _STYLES[-len(curves) :]
    drawn = [(curve, look) for curve, look in zip(curves, styles, strict=True) if curve.n_runs]
    if not drawn:
        return None
    with _axes() as (figure, axes):
        for curve, (colour, line, marker) in drawn:
            numbers, mean, error = np.arange(len(curve.mean)), np.array(curve.mean), np.array(curve.error)
            label = f"{curve.name} ({curve.n_runs} run{'s' * (curve.n_runs != 1)})"
            axes.plot(numbers, mean, color=colour, linestyle=line, marker=marker, markersize=4, label=label)
            axes.fill_between(numbers, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel(counted)
        whole_numbers(axes.xaxis)
        axes.legend(loc="best")
        ends = "; ".join(
            f"{curve.name}: {curve.mean[0]:.2f} at first, {curve.mean[-1]:.2f} in the end"
            for curve, _ in drawn
        )
        return Drawing(
            title=title,
            svg=svg(figure),
            alt=f"Line chart, {title}, by {counted}. {ends}.",
            caption=f"{caption} {_COURSE}".lstrip(),
        )


def log_loss_plot(steps: Sequence[LearningStep]) -> Drawing | None:
    """A plot of both log losses over trusted pairs; None where there is none yet."""
    known = [
        (step.trusted_pairs, step.log_loss, step.log_loss_critics_mean)
        for step in steps
        if step.log_loss is not None and step.log_loss_critics_mean is not None
    ]
    if not known:
        return None
    pairs, model, critics = zip(*known, strict=True)
    with _axes() as (figure, axes):
        coin = math.log(2)
        axes.axhline(coin, color=QUIET, linewidth=1.0, linestyle=":", label="a coin")
        axes.plot(pairs, critics, color=INK, linestyle="--", label="critics' mean", marker=_marker(pairs))
        axes.plot(pairs, model, color=ACCENT, label="model", marker=_marker(pairs))
        _mark_gate(axes, steps)
        axes.set_xlabel("trusted pairs so far")
        axes.set_ylabel("log loss, nats")
        axes.set_ylim(*_room_around([*model, *critics, coin]))
        axes.legend(loc="best")
        return Drawing(
            title="How well it predicts which video is better",
            svg=svg(figure),
            alt=f"Line chart of the log loss over trusted pairs. Last pair: {pairs[-1]}; "
            f"there the model is at {model[-1]:.3f} and the critics' mean at {critics[-1]:.3f}.",
            caption="Mean over all trusted pairs so far, each predicted before any pair of its run was "
            "learnt. The critics' mean is rescaled to fit, for a fair comparison.",
        )


def evidence_plot(steps: Sequence[LearningStep], opens_at: float) -> Drawing | None:
    """A plot of the gate's evidence on a log axis; None where no snapshot has trusted pairs."""
    if not any(step.trusted_pairs for step in steps):
        return None
    from matplotlib.ticker import LogLocator, NullLocator

    pairs = [step.trusted_pairs for step in steps]
    with _axes() as (figure, axes):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=_TICKS))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.plot(pairs, [max(step.evidence, 1e-12) for step in steps], color=ACCENT, marker=_marker(pairs))
        axes.axhline(opens_at, color=QUIET, linestyle="--", linewidth=1.0, label=f"opens at {opens_at:g}")
        _mark_gate(axes, steps)
        axes.set_xlabel("trusted pairs so far")
        axes.set_ylabel("evidence, log scale")
        axes.legend(loc="best")
        return Drawing(
            title="Evidence for opening the gate",
            svg=svg(figure),
            alt=f"Line chart of the evidence that the model beats the critics' mean: "
            f"{steps[-1].evidence:.3g} in the end; the gate opens at {opens_at:g}.",
            caption="Evidence: the wealth of a gambler who bets on the model, run after run. If the model "
            f"were no better than the critics' mean, the chance of ever reaching {opens_at:g} would be at "
            f"most 1 in {opens_at:g}.",
        )


@contextmanager
def _axes() -> Iterator[tuple[Figure, Axes]]:
    from matplotlib import rc_context

    with rc_context(style()):
        figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
        axes = figure.add_subplot()
        plain(axes, LINE)
        yield figure, axes


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def _mark_gate(axes: Axes, steps: Sequence[LearningStep]) -> None:
    """Mark each step at which the gate opens."""
    before = [False, *(step.active for step in steps)]
    opened = [step.trusted_pairs for step, was in zip(steps, before, strict=False) if step.active and not was]
    for n, pairs in enumerate(opened):
        axes.axvline(pairs, color=ACCENT, linewidth=1.2, linestyle=":", label=None if n else "gate opened")


def _marker(points: Sequence[int]) -> str:
    return "o" if len(points) <= _FEW else ""


def _room_around(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show every value, with room to read them by."""
    low, high = min(values), max(values)
    room = max(0.02, 0.08 * (high - low))
    return low - room, high + room
