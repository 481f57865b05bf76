"""Pictures of results: the picks of a reward, its effects, and how reliable learners are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from runner.lab.picks import NAMES, Interval, Picks, Policy
from streams.messages.feature_names import shown
from trainers.bradley_terry.explain import Effect, Explanation, ratio_text
from tribrain.figures.plots import CRITICS, MODEL, Picture, new_figure, plain, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES: Mapping[Policy, tuple[str, str, str]] = {
    "oracle": ("#555555", ":", "^"),
    "combined": (MODEL, "-", "o"),
    "critics_mean": (CRITICS, "--", "s"),
    "best_single": ("#009e73", "-.", "D"),
}
_UNSURE = "#8a8a8a"
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_NAME_CHARS = 44


def picks_plot(picks: Picks) -> Picture:
    """Left: the human score of every policy's pick over k; right: its gain over the critics' mean."""
    figure = new_figure(10.4, 4.2)
    left, right = figure.subplots(1, 2)
    for axes, title in ((left, "the candidate that is picked"), (right, "compared with the critics' mean")):
        plain(axes)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("candidates to pick from, k (below: tasks with so many)")
        axes.set_xticks(*_ticks(picks))
    # Side by side, so that intervals at the same k can be told apart.
    for place, (policy, style) in enumerate(_STYLES.items()):
        curve = picks.policies[policy]
        k = [k + (place - 1.5) * 0.06 for k in picks.k]
        _line(left, k, curve.human_score, curve.ci95, style, NAMES[policy])
        if policy in ("combined", "best_single"):
            gain, interval = curve.minus_critics_mean, curve.minus_critics_mean_ci95
            _line(right, k, gain, interval, style, NAMES[policy])
    left.set_ylabel("human score, standard deviations")
    right.set_ylabel("gain, standard deviations")
    right.axhline(0.0, color=CRITICS, linestyle="--", linewidth=1.4)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    best = "; ".join(f"{NAMES[p]} {picks.policies[p].human_score[-1]:+.2f}" for p in _STYLES)
    return Picture(
        png(figure),
        f"Line charts over k with 95% intervals. Human score of the pick out of {picks.k[-1]}: {best}.",
    )


def effects_plot(explanation: Explanation) -> Picture:
    """A forest plot: each feature's odds ratio with its interval on a log axis, the strongest on top."""
    rows = list(reversed(explanation.effects))
    figure = new_figure(7.4, 1.7 + 0.32 * len(rows))
    axes = figure.add_subplot()
    plain(axes)
    axes.set_xscale("log")
    axes.axvline(1.0, color="#333333", linewidth=1.0)
    for row, effect in enumerate(rows):
        colour = _colour(effect)
        if effect.odds_ratio_ci95 is not None:
            axes.plot(effect.odds_ratio_ci95, (row, row), color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(effect.odds_ratio, row, marker="o", color=colour, markersize=6)
        # Beside the axis, where no interval can run through the figures.
        axes.annotate(
            effect_text(effect), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9
        )
    axes.set_yticks(range(len(rows)), [_short(shown(effect.feature)) for effect in rows])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    _odds_axis(axes, rows)
    axes.set_xlabel(
        f"odds of being preferred where this score is {explanation.step:g} higher, all others equal\n"
        + ("bar: 95% interval; grey: may as well be no effect" if explanation.has_intervals else _POINT)
    )
    listed = ", ".join(f"{shown(effect.feature)} {effect_text(effect)}" for effect in explanation.effects)
    return Picture(png(figure), f"Forest plot of odds ratios: {listed}.")


_POINT = "point estimate, no interval"


def reliability_plot(curves: Mapping[str, Sequence[tuple[float, float, int]]]) -> Picture:
    """A reliability diagram: on the diagonal, a learner is right as often as it is confident.

    ``curves`` maps a learner to (mean confidence, share that was right, pairs) of each bin.
    """
    figure = new_figure(5.8, 4.6)
    axes = figure.add_subplot()
    plain(axes)
    axes.plot([0.5, 1.0], [0.5, 1.0], color=_UNSURE, linestyle=":", label="as confident as right")
    most = max((n for bins in curves.values() for *_, n in bins), default=1)
    for (name, bins), colour in zip(curves.items(), cycle(_COLOURS), strict=False):
        confidence, right = [c for c, _, _ in bins], [r for _, r, _ in bins]
        axes.plot(confidence, right, color=colour, linewidth=1.2, label=_short(name))
        axes.scatter(confidence, right, s=[6 + 60 * n / most for *_, n in bins], color=colour, alpha=0.7)
    axes.set_xlabel("confidence in the preferred side (larger dots: more pairs)")
    axes.set_ylabel("share of pairs in which it was right")
    axes.legend(frameon=False, fontsize=8)
    return Picture(png(figure), f"How often {', '.join(curves)} were right, by how confident they were.")


def effect_text(effect: Effect) -> str:
    """The odds ratio, such as ``×1.42 [1.10, 1.83]``; without the interval where there is none."""
    ratio = f"×{ratio_text(effect.odds_ratio)}"
    if effect.odds_ratio_ci95 is None:
        return ratio
    low, high = effect.odds_ratio_ci95
    return f"{ratio} [{ratio_text(low)}, {ratio_text(high)}]"


def _colour(effect: Effect) -> str:
    if effect.odds_ratio_ci95 is not None and not effect.is_sure:
        return _UNSURE
    return MODEL if effect.odds_ratio >= 1.0 else CRITICS


def _odds_axis(axes: Axes, rows: Sequence[Effect]) -> None:
    """Ticks such as ×0.5, ×1, ×2 rather than powers of ten, as long as they fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    ends = [1.0, *(e.odds_ratio for e in rows), *(end for e in rows for end in e.odds_ratio_ci95 or ())]
    low, high = min(ends), max(ends)
    axes.set_xlim(low / 1.12, high * 1.12)
    axes.tick_params(axis="x", labelsize=8)
    if high / low < 200.0:
        few = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10])
        axes.xaxis.set_major_locator(few if high / low < 4.0 else LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"×{ratio:g}"))


def _ticks(picks: Picks) -> tuple[list[int], list[str]]:
    every = 1 + len(picks.k) // 9
    shown = list(zip(picks.k, picks.tasks_per_k, strict=True))[::every]
    return [k for k, _ in shown], [f"{k}\n({n})" for k, n in shown]


def _line(
    axes: Axes,
    k: Sequence[float],
    values: Sequence[float],
    intervals: Sequence[Interval | None],
    style: tuple[str, str, str],
    name: str,
) -> None:
    colour, line, marker = style
    axes.plot(k, values, color=colour, linestyle=line, marker=marker, markersize=4.5, label=name)
    for x, interval in zip(k, intervals, strict=True):
        if interval is not None:
            axes.plot((x, x), interval, color=colour, linewidth=1.3, alpha=0.55)


def _short(text: str) -> str:
    return text if len(text) <= _NAME_CHARS else text[: _NAME_CHARS - 1] + "…"
