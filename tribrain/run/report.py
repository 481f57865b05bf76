"""The report of a run, or of a folder of runs: what became of each video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streams.errors import BadInput, counted
from streams.messages.votes import Vote
from tribrain.figures.report_plots import course_plot, mean_curve
from tribrain.story.report import Figure, Told, WrittenReport, write_report
from tribrain.story.steps import why_it_stopped
from tribrain.story.traced_run import TRACE, TracedRun, read_traced
from tribrain.story.voters import voters_on


def is_folder_of_runs(folder: Path) -> bool:
    """Whether ``folder`` is the folder of a run, or holds such folders."""
    return bool(_run_folders(folder))


def build_run_report(folder: Path, votes: Sequence[Vote] = ()) -> WrittenReport:
    """Write ``report.html`` of the run, or runs, in ``folder``; one that is there is replaced.

    It shows how many of the ``votes`` each annotator gave on them. A trace may be one of TriBrain 0.6.2, be
    cut off, or hold several runs. Raises BadInput where no run is there, a trace is damaged, or the report
    cannot be written.
    """
    runs = [run for each in _run_folders(folder) for run in read_traced(each)]
    if not runs:
        raise BadInput(
            f"{folder}: no {TRACE} with an event is in it, nor in a folder in it; give a run's folder"
        )
    length = max(len(run.events) for run in runs)
    plot = None
    if len(runs) > 1:
        curve = mean_curve("mean", [run.scores for run in runs], length)
        plot = course_plot("Critics' score of the best video so far", [curve])
    return write_report(
        folder,
        "Run" if len(runs) == 1 else "Runs",
        "run/report.html.j2",
        [Told(run=run, title=run.goal, label=run.run_id) for run in runs],
        headline=_headline_of_one(runs[0]) if len(runs) == 1 else _headline(runs),
        lead=[_lead_of_one(runs[0])] if len(runs) == 1 else [],
        figures=_figures(runs),
        plot=plot,
        voters=voters_on({run.run_id for run in runs}, votes),
    )


def _run_folders(folder: Path) -> list[Path]:
    traces = [folder / TRACE, *sorted(folder.glob(f"*/{TRACE}"))]
    return [trace.parent for trace in traces if trace.is_file()]


def _headline_of_one(run: TracedRun) -> str:
    n, best, score = len(run.events), run.best, run.scores[-1]
    videos = counted(n, "video")
    if best is None or score is None:
        return f"Of {videos}, none could be judged."
    if n == 1:
        return f"One video was made; its critics' score is {score:.2f}."
    at = f"iteration {best.iter_idx}, with a critics' score of {score:.2f}"
    if run.score_gain is None:
        return f"The best of {videos} is {at}; the first could not be judged."
    if best is run.events[0]:
        return f"The best of {videos} is the first, {at}: refinement found none that was better."
    return f"The best of {videos} is {at}; the first had {run.rewards[run.events[0].iter_idx]:.2f}."


def _lead_of_one(run: TracedRun) -> str:
    why = why_it_stopped(run.stop_reason)
    return f"{why} The critics' score is what a run climbs; what people prefer is another question."


def _headline(runs: Sequence[TracedRun]) -> str:
    gains = [gain for run in runs if (gain := run.score_gain) is not None]
    if not gains:
        return f"Of {counted(len(runs), 'run')}, none has a first video that could be judged."
    better = sum(gain > 0 for gain in gains)
    return f"In {better} of {counted(len(gains), 'run')} a later video was scored higher than the first."


def _figures(runs: Sequence[TracedRun]) -> list[Figure]:
    failed = sum(run.failed for run in runs)
    gains = [gain for run in runs if (gain := run.score_gain) is not None]
    figures = [
        Figure(
            what="Videos",
            value=f"{sum(len(run.events) for run in runs):,}",
            meaning=f"{failed} could not be judged" if failed else "all of them were judged",
        )
    ]
    if gains:
        value = f"{sum(gains) / len(gains):+.2f}".replace("-", "−")
        meaning = "of the best over the first" + (", mean over runs" if len(runs) > 1 else "")
        figures.append(Figure(what="Critics' score", value=value, meaning=meaning))
    if len(runs) > 1:
        figures.insert(0, Figure(what="Runs", value=f"{len(runs):,}"))
    return figures
