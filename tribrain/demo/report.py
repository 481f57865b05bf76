"""The report of a demo: one HTML file that needs nothing else, for someone who was not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainers.evidence.gate import OPENS_AT
from tribrain.demo.folder import GROUPS, Demo, DemoRun, HistoryLine, Summary, read_demo
from tribrain.figures.page import embedded, render
from tribrain.figures.plots import (
    Curve,
    LearningStep,
    comparison_plot,
    evidence_plot,
    log_loss_plot,
    mean_curve,
    weights_plot,
)
from tribrain.shell.output import write_output


def build_report(folder: Path) -> Path:
    """Write ``folder/report.html`` and return its path; a report that is there is replaced.

    Raises BadInput as ``read_demo`` does, and where the report cannot be written.
    """
    path = folder / "report.html"
    content = _render(read_demo(folder)).encode()
    write_output(path, content)
    return path


def _render(demo: Demo) -> str:
    steps = [_learning_step(line) for line in demo.history]
    groups = {name: [run for run in demo.runs if run.group == name] for name in GROUPS}
    panels = _panels(groups["never"], groups["throughout"])
    videos = embedded([run.video for run in demo.runs])
    return render(
        "demo/report.html.j2",
        summary=demo.summary,
        key_figures=_key_figures(demo.summary),
        weights_plot=weights_plot(demo.weights) if demo.weights else None,
        dimension_plots={name: weights_plot(weights) for name, weights in demo.dimensions.items() if weights},
        log_loss_plot=log_loss_plot(steps),
        evidence_plot=evidence_plot(steps, OPENS_AT),
        comparison_plot=comparison_plot(panels),
        group_sizes={name: len(members) for name, members in groups.items()},
        ends=_ends(panels),
        opens_at=OPENS_AT,
        rows=list(zip(demo.runs, videos, strict=True)),
        n_videos=sum(run.video is not None for run in demo.runs),
        n_embedded=sum(video is not None for video in videos),
    )


def _learning_step(line: HistoryLine) -> LearningStep:
    return LearningStep(
        trusted_pairs=line.trusted_pairs,
        log_loss=line.log_loss,
        log_loss_critics_mean=line.log_loss_critics_mean,
        evidence=line.evidence,
        active=line.gate == "active",
    )


def _panels(never: Sequence[DemoRun], throughout: Sequence[DemoRun]) -> dict[str, list[Curve]]:
    """Title to one curve a group, of those of its runs for which there is any value."""
    length = max((len(run.scores) for run in [*never, *throughout]), default=0)
    panels: dict[str, list[Curve]] = {
        "critics' score of the best so far": [],
        "true quality of the best so far": [],
    }
    for name, members in (("never steered", never), ("steered", throughout)):
        for title, courses in zip(
            panels, ([r.scores for r in members], [r.qualities for r in members]), strict=True
        ):
            known = [course for course in courses if any(value is not None for value in course)]
            panels[title].append(mean_curve(name, known, length))
    return panels


def _ends(panels: Mapping[str, Sequence[Curve]]) -> str:
    """Where the curves end, in words."""
    return " ".join(
        f"In the end, the {title}: "
        + ", ".join(f"{curve.name} {curve.mean[-1]:.3f} ± {curve.error[-1]:.3f}" for curve in drawn)
        + "."
        for title, curves in panels.items()
        if (drawn := [curve for curve in curves if curve.n_runs])
    )


def _key_figures(summary: Summary) -> list[tuple[str, str]]:
    by_source = ", ".join(f"{n} {source}" for source, n in sorted(summary.pairs_by_label_source.items()))
    opened = summary.gate_opened_at_pair
    first = summary.first_snapshot_s
    return [
        ("Runs", f"{len(summary.runs)} of {summary.tasks}"),
        ("Trace events", str(summary.events)),
        ("Preference pairs", f"{summary.pairs} ({by_source})" if by_source else str(summary.pairs)),
        ("Reward snapshots published", str(summary.snapshots)),
        ("First snapshot after", f"{first:.1f} s" if first is not None else "none was published"),
        ("Gate opened", f"at pair {opened}" if opened is not None else "not yet: the model steered nothing"),
        ("Log loss of the model", _three_digits(summary.log_loss)),
        ("Log loss of the critics' mean", _three_digits(summary.log_loss_critics_mean)),
        ("Broker", summary.broker),
        ("Wall time", _duration(summary.wall_s)),
    ]


def _three_digits(value: float | None) -> str:
    return f"{value:.3f}" if value is not None else "no trusted pair yet"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
