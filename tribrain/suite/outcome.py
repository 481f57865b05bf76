"""What came of a suite: its summary, its report, and what is printed at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
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


def tell_outcome(folder: SuiteFolder, plan: SuitePlan, *, as_json: bool) -> None:
    """Write summary and report of all that is finished, in whichever shard, and say what came out."""
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
            stop_in_words(run.stop_reason),
        )
        for run in runs
    ]
    click.echo(columns(rows))
    click.echo(
        f"{plan.suite}: {len(runs):,} of {counted(plan.n_tasks, 'run')} finished; critics' score "
        f"{_digits(summary['mean_first_score'])} of the first videos, {_digits(summary['mean_best_score'])} "
        f"of the best; {report}"
    )


def _summary(plan: SuitePlan, runs: Sequence[SuiteRun]) -> dict[str, Any]:
    return {
        "suite": plan.suite,
        "prompts": plan.prompts,
        "world": plan.world,
        "n_tasks": plan.n_tasks,
        "finished": len(runs),
        "videos": sum(run.candidates for run in runs),
        "failed": sum(run.failed for run in runs),
        "mean_first_score": _mean([run.first_score for run in runs]),
        "mean_best_score": _mean([run.best_score for run in runs]),
        "missing_critics": dict(sum((Counter(run.missing) for run in runs), Counter())),
        "runs": [asdict(run) for run in runs],
    }


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known else None


def in_words(run: SuiteRun, folder: Path) -> str:
    best = "no video could be judged"
    if run.best_score is not None and run.best_video is not None:
        best = f"best critics' score {run.best_score:.3f} at {run.best_iter} ({folder / run.best_video})"
    return f"{run.run_id}: {counted(run.iterations, 'iteration')}, {best}; {stop_in_words(run.stop_reason)}"


def _digits(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
