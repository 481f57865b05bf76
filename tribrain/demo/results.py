"""Writes a demo's results: summary, history, pairs per run and the last model; and prints a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from streams.errors import counted
from streams.files import write_atomically
from streams.messages.codec import encode
from streams.messages.contracts import RewardSnapshot, TraceEvent
from streams.messages.files import read_trace
from trainers.datasets.vote_files import as_json_lines
from trainers.pairs.pairing import PairingRules, pairs_of_run
from tribrain.demo.folder import VOTES
from tribrain.demo.lora import DemoLoraPlan, adapter_lines
from tribrain.demo.progress import DemoRun, Monitor
from tribrain.demo.votes import DemoVotes
from tribrain.story.model import odds_of_all


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """The plan of a demo: its runs, voters and page."""

    out: Path
    tasks: int
    parallel: int
    iters: int
    seed: int
    preference_weight: float = 0.25
    lora: DemoLoraPlan | None = None
    """Plan of the text reward model that is trained beside the runs; None for none."""
    annotators: int = 0
    """Number of simulated people who vote."""
    page_port: int | None = None
    """Port on which the page listens; None for no page."""

    @property
    def page(self) -> bool:
        return self.page_port is not None

    @property
    def outcome_share(self) -> float:
        """Share of videos that the simulated validator judges: none with the page, where people vote."""
        return 0.0 if self.page else 0.5


def write_results(
    plan: DemoPlan, monitor: Monitor, votes: DemoVotes | None, broker: str, *, interrupted: bool
) -> dict[str, Any]:
    """Write ``summary.json``, ``history.jsonl``, ``bt_reward.json``, each run's ``pairs.jsonl``, and the
    votes that were not taken back (``votes.jsonl``), as the demo's broker ends with it."""
    runs = sorted(monitor.finished, key=lambda run: run.result.run_id)
    latest = monitor.feed.latest()
    trusted = (latest.metrics["trusted"] if latest else None) or {}
    summary: dict[str, Any] = {
        "events": monitor.events,
        "pairs": len(monitor.pair_ids),
        "pairs_by_label_source": dict(sorted(monitor.labels.items())),
        "snapshots": len(monitor.history),
        "first_snapshot_s": monitor.history[0]["time_s"] if monitor.history else None,
        "wall_s": monitor.elapsed_s,
        "gate": latest.gate if latest else None,
        "gate_opened_at_pair": latest.metrics["gate"]["opened_at_pair"] if latest else None,
        "statement": latest.statement if latest else "No snapshot was published.",
        "pairs_learnt": sum(latest.labels.values()) if latest else 0,
        "weights": latest.weights if latest else {},
        "log_loss": trusted.get("log_loss"),
        "log_loss_critics_mean": trusted.get("log_loss_critics_mean"),
        "broker": broker,
        "seed": plan.seed,
        "tasks": plan.tasks,
        "parallel": plan.parallel,
        "iters": plan.iters,
        "preference_weight": plan.preference_weight,
        "trainer_restarts": monitor.trainer_restarts,
        "interrupted": interrupted,
        "text_reward": monitor.adapters.summary() if monitor.adapters is not None else None,
        "people": votes.summary(latest) if votes is not None else None,
        "runs": [_run_summary(plan.out, run) for run in runs],
    }
    if latest is not None:
        write_atomically(plan.out / "bt_reward.json", encode(latest))
    if votes is not None and (given := votes.votes()):
        write_atomically(plan.out / VOTES, as_json_lines(given))
    write_atomically(
        plan.out / "history.jsonl", b"".join(orjson.dumps(entry) + b"\n" for entry in monitor.history)
    )
    write_atomically(plan.out / "summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    return summary


def print_results(
    console: Console, summary: dict[str, Any], latest: RewardSnapshot | None, report: Path
) -> None:
    """Print what the last model has learnt, and figures of the demo."""
    for line in odds_of_all(latest) if latest is not None else ():
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(summary["statement"], soft_wrap=True)
    if summary["log_loss"] is not None:
        console.print(
            f"Test-then-train log loss {summary['log_loss']:.3f}; critics' mean "
            f"{summary['log_loss_critics_mean']:.3f}."
        )
    for line in adapter_lines(summary["text_reward"]) if summary["text_reward"] else ():
        console.print(line, soft_wrap=True)
    if summary["people"] is not None:
        _print_people(console, summary["people"])
    first = summary["first_snapshot_s"]
    console.print(
        f"{counted(len(summary['runs']), 'run')}, {counted(summary['events'], 'event')}, "
        f"{counted(summary['pairs'], 'pair')} ({summary['pairs_learnt']:,} learnt), "
        f"{counted(summary['snapshots'], 'snapshot')}"
        + (f", the first after {first:.1f} s" if first is not None else "")
        + f"; {summary['wall_s']:.0f} s in all."
    )
    console.print(f"Report: {report}", soft_wrap=True)


def _print_people(console: Console, people: dict[str, Any]) -> None:
    if not people["annotators"]:
        console.print("Nobody voted.")
        return
    table = Table(title="Who voted", title_justify="left")
    table.add_column("annotator")
    for name in ("votes", "errors", "agreed with others", "a label counts"):
        table.add_column(name, justify="right")
    for each in people["annotators"]:
        errors = "not known"
        if each["errors"] is not None:
            errors = f"{each['errors']} ({each['error_rate']:.0%} expected)"
        table.add_row(
            each["name"],
            str(each["votes"]),
            errors,
            f"{each['agreed']} of {each['compared']}",
            "1.00" if each["weight"] is None else f"{each['weight']:.2f}",
        )
    console.print(table)
    alpha, ci95 = people["alpha"], people["alpha_ci95"]
    agreement = "undefined so far"
    if alpha is not None:
        agreement = f"{alpha:.2f}" + (f" ({ci95[0]:.2f} to {ci95[1]:.2f})" if ci95 else "")
    console.print(
        f"{counted(people['votes'], 'vote')}; Krippendorff's alpha {agreement}, where 1 is perfect "
        "agreement and 0 is chance. What a label counts is learnt from agreement alone: the model never sees "
        "the errors.",
        soft_wrap=True,
    )


def _run_summary(out: Path, run: DemoRun) -> dict[str, Any]:
    result = run.result
    folder = out / "runs" / result.run_id
    events = [event for event in read_trace(folder / "trace.jsonl") if isinstance(event, TraceEvent)]
    pairs = pairs_of_run(events, PairingRules())
    write_atomically(folder / "pairs.jsonl", b"".join(encode(pair) + b"\n" for pair in pairs))
    return {
        "run_id": result.run_id,
        "goal": run.goal,
        "iterations": result.iterations,
        "versions": result.versions,
        "best_iter": result.best_iter,
        "best_score": result.best_score,
        "steered_iterations": sum(event.meta.get("preference_confidence", 0) > 0 for event in events),
        "stop_reason": result.stop_reason,
    }
