"""The report's pictures: plain numbers in, PNG bytes and a text for those who cannot see them out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # half a second, which is for who draws
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

from streams.messages.feature_names import shown

_DPI = 150
_WIDTH_IN, _HEIGHT_IN = 5.8, 3.5
# Okabe and Ito's colours, which the colour-blind can tell apart.
MODEL, CRITICS, _GATE = "#0072b2", "#d55e00", "#009e73"
_MODE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#888888")
_NAME_CHARS = 36
_GROUP_STYLES = (("#d55e00", "--", "s"), ("#0072b2", "-", "o"))

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Picture:
    png: bytes
    alt: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One group of runs: mean and standard error per iteration; NaN where no run has a value."""

    name: str
    n_runs: int
    mean: tuple[float, ...]
    error: tuple[float, ...]
    """0 for a single run, whose error nobody knows."""


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

    A course that is shorter keeps its last value: a run that has stopped keeps its best video. None counts
    as no value.
    """
    columns: list[list[float]] = [[] for _ in range(length)]
    for course in courses:
        for index in range(length if course else 0):
            value = course[min(index, len(course) - 1)]
            if value is not None:
                columns[index].append(value)
    return Curve(
        name,
        len(courses),
        tuple(float(np.mean(column)) if column else math.nan for column in columns),
        tuple(_standard_error(column) for column in columns),
    )


def weights_plot(weights: Mapping[str, float]) -> Picture:
    """Horizontal bars, the largest weight on top, coloured by failure mode (the name after the dot)."""
    from matplotlib.patches import Patch

    ordered = sorted(weights.items(), key=lambda item: item[1])
    modes = sorted({_mode(name) for name in weights})
    colours = {mode: _MODE_COLOURS[i % len(_MODE_COLOURS)] for i, mode in enumerate(modes)}
    figure, axes = _figure(height_in=max(_HEIGHT_IN, 1.2 + 0.34 * len(ordered)))
    for row, (name, weight) in enumerate(ordered):
        axes.barh(row, weight, color=colours[_mode(name)], height=0.7)
        axes.annotate(
            f"{weight:+.2f}",
            (max(weight, 0.0), row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(ordered)), [_label(name) for name, _ in ordered])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.axvline(0.0, color="#333333", linewidth=0.8)
    axes.margins(x=0.18)
    axes.set_xlabel("weight: how much a better score counts")
    handles = [Patch(color=colours[mode], label=_short(mode)) for mode in modes]
    legend = axes.legend(handles=handles, title="failure mode", loc="lower right")
    for text in legend.get_texts():
        text.set_parse_math(False)
    listed = ", ".join(f"{name} {weight:+.2f}" for name, weight in reversed(ordered))
    return Picture(png(figure), f"Bar chart of the learned weight per critic: {listed}.")


def log_loss_plot(steps: Sequence[LearningStep]) -> Picture | None:
    """Both log losses over trusted pairs; None where there is none yet."""
    known = [step for step in steps if step.log_loss is not None and step.log_loss_critics_mean is not None]
    if not known:
        return None
    pairs = [step.trusted_pairs for step in known]
    model = [step.log_loss or 0.0 for step in known]
    critics = [step.log_loss_critics_mean or 0.0 for step in known]
    figure, axes = _figure()
    axes.axhline(math.log(2), color="#555555", linewidth=1.2, linestyle=":", label="a coin (ln 2)")
    axes.plot(pairs, critics, color=CRITICS, linestyle="--", label="critics' mean", marker=_marker(pairs))
    axes.plot(pairs, model, color=MODEL, label="learned model", marker=_marker(pairs))
    _mark_gate(axes, steps)
    axes.set_xlabel("trusted pairs so far")
    axes.set_ylabel("log loss, nats (lower is better)")
    axes.set_ylim(*_room_around([*model, *critics, math.log(2)]))
    axes.legend(loc="best")
    alt = (
        f"Line chart of the log loss over trusted pairs. After {pairs[-1]} pairs the learned model is at "
        f"{model[-1]:.3f} and the critics' mean at {critics[-1]:.3f}."
    )
    return Picture(png(figure), alt)


def evidence_plot(steps: Sequence[LearningStep], opens_at: float) -> Picture | None:
    """The gate's evidence on a log axis; None where nothing was published yet."""
    if not any(step.trusted_pairs for step in steps):
        return None
    pairs = [step.trusted_pairs for step in steps]
    figure, axes = _figure()
    axes.set_yscale("log")
    axes.plot(pairs, [max(step.evidence, 1e-12) for step in steps], color=MODEL, marker=_marker(pairs))
    axes.axhline(opens_at, color="#333333", linestyle="--", linewidth=1.0, label=f"opens at {opens_at:g}")
    _mark_gate(axes, steps)
    axes.set_xlabel("trusted pairs so far")
    axes.set_ylabel("evidence (log scale)")
    axes.legend(loc="best")
    alt = (
        f"Line chart of the evidence that the model beats the critics' mean: "
        f"{steps[-1].evidence:.3g} in the end; the gate opens at {opens_at:g}."
    )
    return Picture(png(figure), alt)


def comparison_plot(panels: Mapping[str, Sequence[Curve]], *, counted: str = "iteration") -> Picture | None:
    """Side by side, one panel a measure (title to the groups' curves); None where no group has a run.

    ``counted`` is what a curve has a value of.
    """
    drawn = {title: [curve for curve in curves if curve.n_runs] for title, curves in panels.items()}
    drawn = {title: curves for title, curves in drawn.items() if curves}
    if not drawn:
        return None
    figure = new_figure(max(_WIDTH_IN, 5.2 * len(drawn)), 3.9)
    for position, (title, curves) in enumerate(drawn.items(), start=1):
        axes = figure.add_subplot(1, len(drawn), position)
        plain(axes)
        for curve, (colour, line, marker) in zip(curves, _styles(curves, panels[title]), strict=True):
            iterations = np.arange(len(curve.mean))
            mean, error = np.array(curve.mean), np.array(curve.error)
            label = f"{curve.name} ({curve.n_runs} run{'s' * (curve.n_runs != 1)})"
            axes.plot(
                iterations, mean, color=colour, linestyle=line, marker=marker, markersize=4, label=label
            )
            axes.fill_between(iterations, mean - error, mean + error, color=colour, alpha=0.18, linewidth=0)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(counted)
        axes.set_ylabel("mean over runs ± standard error")
        whole_numbers(axes.xaxis)
        axes.legend(loc="best")
    ends = "; ".join(
        f"{title}, {curve.name}: {curve.mean[0]:.2f} at first, {curve.mean[-1]:.2f} in the end"
        for title, curves in drawn.items()
        for curve in curves
    )
    return Picture(png(figure), f"Line charts of the best video so far per {counted}. {ends}.")


def _styles(drawn: Sequence[Curve], panel: Sequence[Curve]) -> list[tuple[str, str, str]]:
    """A group looks the same whether or not the others have runs."""
    return [_GROUP_STYLES[panel.index(curve) % len(_GROUP_STYLES)] for curve in drawn]


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def _mark_gate(axes: Axes, steps: Sequence[LearningStep]) -> None:
    opened = next((step.trusted_pairs for step in steps if step.active), None)
    if opened is not None:
        axes.axvline(opened, color=_GATE, linewidth=1.6, label="gate opened")


def _marker(points: Sequence[int]) -> str:
    """A line of a single point would not be seen."""
    return "o" if len(set(points)) == 1 else ""


def _room_around(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show every value, with room to read them by."""
    low, high = min(values), max(values)
    room = max(0.02, 0.08 * (high - low))
    return low - room, high + room


def _mode(feature: str) -> str:
    return shown(feature).partition(".")[2] or "other"


def _label(feature: str) -> str:
    critic, _, mode = shown(feature).partition(".")
    return _short(f"{critic} · {mode}" if mode else critic)


def _short(text: str) -> str:
    return text if len(text) <= _NAME_CHARS else text[: _NAME_CHARS - 1] + "…"


def _figure(height_in: float = _HEIGHT_IN) -> tuple[Figure, Axes]:
    figure = new_figure(_WIDTH_IN, height_in)
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def new_figure(width_in: float, height_in: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")


def whole_numbers(axis: Axis) -> None:
    """Ticks at these alone."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)


def png(figure: Figure) -> bytes:
    """A bare Figure draws with Agg: no screen, no global state. No metadata: same numbers, same bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
