"""The results of a suite: its summary, its report, and the text that is printed at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from runner.loop.stopping import stop_in_words
from streams.errors import counted
from tribrain.shell.output import columns, write_output
from tribrain.suite.folder import SuiteFolder, SuitePlan, SuiteRun
from tribrain.suite.report import build_suite_report

_MOST_NAMED = 5


def tell_outcome(folder: SuiteFolder, plan: SuitePlan, *, as_json: bool) -> None:
    """Write summary and report of all finished runs, in any shard, and print the results."""
    runs = folder.all_finished()
    summary = _summary(plan, runs)
    write_output(folder.path / "summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    report = build_suite_report(folder.path).path
    if as_json:
        click.echo(orjson.dumps(summary))
        return
    rows = [("index", "iterations", "videos", "failed", "first", "best", "end")]
    rows += [
        (
            str(run.index),
            str(run.iterations),
            str(run.candidates),
            str(run.failed),
            _digits(run.first_score),
            _digits(run.best_score),
            stop_in_words(run.stop_reason) if run.stop_reason else "–",
        )
        for run in runs
    ]
    click.echo(columns(rows))
    click.echo(
        f"{plan.suite}: {summary['finished']:,} of {counted(plan.n_tasks, 'run')} finished; critics' score "
        f"{_digits(summary['mean_first_score'])} of the first videos, {_digits(summary['mean_best_score'])} "
        f"of the best; {report}"
    )


def _summary(plan: SuitePlan, runs: Sequence[SuiteRun]) -> dict[str, Any]:
    return {
        "suite": plan.suite,
        "prompts": plan.prompts,
        "world": plan.world,
        "n_tasks": plan.n_tasks,
        "finished": sum(not run.is_given_up for run in runs),
        "given_up": [run.run_id for run in runs if run.is_given_up],
        "videos": sum(run.candidates for run in runs),
        "failed": sum(run.failed for run in runs),
        "mean_first_score": _mean([run.first_score for run in runs]),
        "mean_best_score": _mean([run.best_score for run in runs]),
        "missing_critics": dict(sum((Counter(run.missing) for run in runs), Counter())),
        "runs": [asdict(run) for run in runs],
    }


def why_not_finished(runs: Sequence[SuiteRun], cannot_continue: Mapping[str, str], *, in_a_row: int) -> str:
    """One line that names the runs which failed or were given up, and the remedy; empty if none did.

    ``cannot_continue`` has reasons by run id. ``in_a_row`` is the number of failures that made the suite
    stop; 0 if it did not.
    """
    lacking = [run for run in runs if run.is_given_up]
    if not lacking:
        return ""
    what = f"{len(lacking)} of {counted(len(runs), 'run')} failed or were given up"
    if in_a_row:
        what = f"given up, as {counted(in_a_row, 'run')} failed, one after the other"
    elif len(lacking) == len(runs):
        is_empty = all(run.best_score is None for run in runs)
        what = "nothing could be made" if is_empty else "every run failed"
    said = [f"{what}: {_named([run.run_id for run in lacking])}"]
    if failures := [run.failure for run in lacking if run.failure]:
        said.append(f"at last {failures[-1]}")
    has_ended = any(run.stop_reason for run in lacking if run.run_id in cannot_continue)
    if final := [run.run_id for run in lacking if run.run_id in cannot_continue]:
        rescore = "tribrain run rescore judges what they have, " if has_ended else ""
        said.append(
            f"{_named(final)} cannot continue, as {cannot_continue[final[-1]]}: {rescore}another --out makes "
            "new ones"
        )
    if len(final) < len(lacking):
        said.append("fix that and run the same command again: it continues")
    return "; ".join(said)


def _named(run_ids: Sequence[str]) -> str:
    more = len(run_ids) - _MOST_NAMED
    return ", ".join(run_ids[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known else None


def in_words(run: SuiteRun, folder: Path) -> str:
    best = "no video could be judged"
    stopped = stop_in_words(run.stop_reason) if run.stop_reason else "not finished"
    if run.best_score is not None and run.best_video is not None:
        best = f"best critics' score {run.best_score:.3f} at {run.best_iter} ({folder / run.best_video})"
    return f"{run.run_id}: {counted(run.iterations, 'iteration')}, {best}; {stopped}"


def _digits(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
