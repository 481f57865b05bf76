"""The report of a suite: what refinement did to each prompt, for someone who was not there."""

from __future__ import annotations

import mimetypes
from collections import Counter
from pathlib import Path

from tribrain.figures.page import embedded, render
from tribrain.figures.plots import Curve, comparison_plot, mean_curve
from tribrain.shell.output import write_output
from tribrain.suite.folder import SuiteFolder, SuitePlan, SuiteRun


def build_suite_report(path: Path) -> Path:
    """Write ``report.html`` of the suite in ``path`` and return its path; one that is there is replaced.

    Raises BadInput for a folder that holds no suite or a damaged one, and where nothing can be written.
    """
    folder = SuiteFolder(path)
    report = path / "report.html"
    write_output(report, _render(folder, folder.plan(), folder.all_finished()).encode())
    return report


def _render(folder: SuiteFolder, plan: SuitePlan, runs: list[SuiteRun]) -> str:
    length = max((len(run.scores) for run in runs), default=0)
    curve = mean_curve("all runs", [run.scores for run in runs], length)
    videos = [_video(folder.path, run) for run in runs]
    contents = embedded(videos)
    return render(
        "suite/report.html.j2",
        plan=plan,
        key_figures=_key_figures(plan, runs, curve),
        plot=comparison_plot({"critics' score of the best so far": [curve]}, counted="video of a run")
        if runs
        else None,
        rows=list(zip(runs, contents, map(_media_type, videos), strict=True)),
        n_videos=sum(video is not None for video in videos),
        n_embedded=sum(content is not None for content in contents),
    )


def _key_figures(plan: SuitePlan, runs: list[SuiteRun], curve: Curve) -> list[tuple[str, str]]:
    missing = sum((Counter(run.missing) for run in runs), Counter[str]())
    figures = [
        ("Runs finished", f"{len(runs)} of {plan.n_tasks}"),
        ("Videos", f"{sum(run.candidates for run in runs)} ({sum(run.failed for run in runs)} failed)"),
        ("World model", plan.world),
        ("Prompts", plan.prompts),
    ]
    if curve.mean:
        first, best = (f"{curve.mean[i]:.3f} ± {curve.error[i]:.3f}" for i in (0, -1))
        figures[2:2] = [("Critics' score of the first", first), ("Critics' score of the best", best)]
    return figures + [(f"Videos without a score of {name}", str(n)) for name, n in sorted(missing.items())]


def _video(folder: Path, run: SuiteRun) -> Path | None:
    """Links followed; None where there is none, or it lies outside the folder."""
    if run.best_video is None:
        return None
    path = (folder / run.best_video).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _media_type(video: Path | None) -> str:
    return (mimetypes.guess_type(video)[0] if video is not None else None) or "video/mp4"
