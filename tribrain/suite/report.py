"""The report of a suite: what refinement did to each prompt, for someone who was not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from streams.errors import counted
from tribrain.figures.report_plots import course_plot, mean_curve
from tribrain.story.report import Figure, Told, WrittenReport, write_report
from tribrain.story.traced_run import TracedRun, read_traced
from tribrain.suite.folder import SuiteFolder, SuitePlan, SuiteRun


def build_suite_report(path: Path) -> WrittenReport:
    """Write ``report.html`` of the suite in ``path``, replacing an earlier one.

    Raises BadInput for a folder that holds no suite or a damaged one, and where nothing can be written.
    """
    folder = SuiteFolder(path)
    plan, finished = folder.plan(), folder.all_finished()
    runs = [_traced(folder, run) for run in finished]
    length = max((len(run.events) for run in runs), default=0)
    curve = mean_curve("mean", [run.scores for run in runs], length)
    return write_report(
        path,
        "Suite",
        "suite/report.html.j2",
        [
            Told(run=run, title=done.prompt, label=f"index {done.index}")
            for run, done in zip(runs, finished, strict=True)
        ],
        headline=_headline(runs),
        lead=_lead(runs),
        notes=_notes(plan, finished),
        figures=_figures(plan, finished),
        plot=course_plot("Critics' score of the best video so far", [curve], counted="video of a run"),
        facts=_facts(plan, finished),
    )


def _notes(plan: SuitePlan, runs: Sequence[SuiteRun]) -> list[str]:
    """Notes on what the report lacks or has only in part."""
    notes = []
    if lacking := plan.n_tasks - len(runs):
        notes.append(
            f"Not finished: {lacking} of {counted(plan.n_tasks, 'run')}. The report shows the others."
        )
    if given_up := sum(run.is_given_up for run in runs):
        notes.append(
            f"Failed or given up: {given_up} of {counted(plan.n_tasks, 'run')}, shown as far as they came."
        )
    return notes


def _traced(folder: SuiteFolder, run: SuiteRun) -> TracedRun:
    run_dir = folder.run_dir(run.run_id)
    found = (traced for traced in read_traced(run_dir) if traced.run_id == run.run_id)
    return next(found, TracedRun(run_id=run.run_id, folder=run_dir, events=()))


def _ends(runs: Sequence[TracedRun]) -> list[tuple[float, float]]:
    """The critics' scores of first and best video, of the runs that have both."""
    return [
        (run.rewards[run.events[0].iter_idx], best)
        for run in runs
        if run.events and run.events[0].iter_idx in run.rewards and (best := run.scores[-1]) is not None
    ]


def _headline(runs: Sequence[TracedRun]) -> str:
    """One sentence on what refinement did."""
    if not runs:
        return "No run has finished, so there is nothing to tell."
    prompts = counted(len(runs), "prompt")
    ends = _ends(runs)
    if not ends:
        return f"Of {prompts}, no first video could be judged, so there is nothing to compare."
    first, best = (sum(values) / len(ends) for values in zip(*ends, strict=True))
    if best <= first:
        return f"Refinement found nothing that the critics scored higher, for any of {prompts}."
    return f"Refinement raised the critics' score of {prompts} from {first:.2f} to {best:.2f}."


def _lead(runs: Sequence[TracedRun]) -> list[str]:
    ends = _ends(runs)
    if not ends:
        return []
    raised = sum(best > first for first, best in ends)
    return [
        f"In {raised} of {counted(len(ends), 'run')} a later video was scored higher than the first. "
        "Every run climbs this very score, so a rise is no proof that the videos are "
        "better: look at them."
    ]


def _figures(plan: SuitePlan, runs: Sequence[SuiteRun]) -> list[Figure]:
    failed = sum(run.failed for run in runs)
    return [
        Figure(what="Runs", value=str(len(runs)), meaning=f"of {counted(plan.n_tasks, 'prompt')}"),
        Figure(
            what="Videos",
            value=f"{sum(run.candidates for run in runs):,}",
            meaning=f"{failed} could not be judged" if failed else "all of them were judged",
        ),
        Figure(what="World model", value=plan.world, meaning="which made the videos"),
    ]


def _facts(plan: SuitePlan, runs: Sequence[SuiteRun]) -> list[tuple[str, str]]:
    missing = sum((Counter(run.missing) for run in runs), Counter[str]())
    nothing: tuple[object, ...] = (None, "", [], {}, False)
    return [
        ("Suite", plan.suite),
        ("Prompts", plan.prompts),
        *((f"Videos without a score of {name}", str(n)) for name, n in sorted(missing.items())),
        *((name, str(value)) for name, value in plan.settings.items() if value not in nothing),
    ]
