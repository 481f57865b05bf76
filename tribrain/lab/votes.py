"""``tribrain experiment-votes``: how many votes a rule needs for what random ones teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from runner.lab.judged_pairs import known_alone, read_judged_pairs
from runner.lab.vote_experiment import RULES, Arm, Measured, arms_of, measure_votes
from streams.messages.files import read_candidates
from trainers.pairs.judgements import dimension_of
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, FiniteFloat
from tribrain.shell.output import columns, progress


@click.command(
    cls=Command,
    epilog="Example: tribrain lab votes --pairs judged.jsonl --repetitions 12 --json",
)
@click.option(
    "--pairs",
    required=True,
    type=PATH,
    help="Judged pairs, ties included: as pairs.jsonl, or lines that name two candidates of a task, "
    "{task_id, chosen, rejected, tie}.",
)
@click.option(
    "--candidates",
    type=PATH,
    help="The candidates, where pairs name them: task_id, candidate_id, critic_scores, human_score.",
)
@click.option(
    "--rule",
    "rules",
    type=click.Choice(RULES),
    multiple=True,
    default=RULES,
    help="What chooses the pairs (repeatable); by default every rule there is.",
)
@click.option(
    "--repetitions",
    type=click.IntRange(min=2),
    default=12,
    show_default=True,
    help="Splits of the tasks, the same for every rule.",
)
@click.option("--votes", type=click.IntRange(1, 400), default=400, show_default=True, help="Of a repetition.")
@click.option(
    "--flips",
    type=FiniteFloat(0, 1),
    multiple=True,
    default=(0.0,),
    help="Share of the answers that are wrong (repeatable).  [default: 0]",
)
@click.option(
    "--random-share",
    "shares",
    type=FiniteFloat(0, 1),
    multiple=True,
    default=(0.0,),
    help="Share of the votes on pairs drawn at random, which are evidence (repeatable).  [default: 0]",
)
@click.option(
    "--rising-share",
    is_flag=True,
    help="Measure the share of random votes that the page asks with, too, which rises with the votes.",
)
@click.option("--who-made-each-side", is_flag=True, help="Learn that, too, rather than critics alone.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first repetition."
)
@options.as_json
def experiment_votes(
    pairs: Path,
    candidates: Path | None,
    rules: Sequence[str],
    repetitions: int,
    votes: int,
    flips: Sequence[float],
    shares: Sequence[float],
    rising_share: bool,
    who_made_each_side: bool,
    seed: int,
    as_json: bool,
) -> None:
    """How many votes a rule that chooses pairs needs for what random ones teach.

    A quarter of the tasks is kept apart. On the others a rule asks about one pair after the other, the file
    answers, and the learner of the trainer learns; a tie costs a vote, too. Measured on the tasks kept apart
    are the log loss, and how good the candidate is that the model would pick of each: the share of its judged
    pairs that it wins, a tie as half. And when the gate opens by the votes alone that the model did not
    choose. Random votes are on any pair; intervals hold 95% of a bootstrap over the repetitions.
    """
    offered = read_candidates(candidates) if candidates is not None else []
    judged = [pair for pair in read_judged_pairs(pairs, offered) if not dimension_of(pair)]
    arms = arms_of(rules, flips, [*shares, None] if rising_share else shares, votes)
    with progress() as bar:
        task = bar.add_task("repetitions × rules", total=repetitions * len(arms))
        measured = measure_votes(
            known_alone(judged, who_made_each_side=who_made_each_side),
            arms,
            seeds=range(seed, seed + repetitions),
            on_progress=lambda n: bar.advance(task, n),
        )
    if as_json:
        known = "who made each side" if who_made_each_side else "critics alone"
        click.echo(orjson.dumps(_summary(measured, known, seed)))
        return
    click.echo(
        f"{len(judged)} pairs of {measured.tasks} tasks, {measured.ties} ties; {repetitions} repetitions. "
        "Votes needed for the log loss of so many random ones, with 95% intervals; picks: the "
        "share of its pairs that the picked candidate wins, and minus that after random votes; opened: "
        "repetitions in which the gate opened by votes that the model did not choose, and after how many."
    )
    click.echo(_table(measured, repetitions))


def _summary(measured: Measured, known: str, seed: int) -> dict[str, Any]:
    return {
        "pairs": measured.pairs,
        "tasks": measured.tasks,
        "ties": measured.ties,
        "known": known,
        "repetitions": measured.repetitions,
        "seed": seed,
        "votes": list(measured.checkpoints),
        "arms": {
            arm.name: {
                "rule": arm.plan.rule,
                "flips": arm.plan.flips,
                "random_share": arm.plan.random_share,
                **asdict(figures),
            }
            for arm, figures in measured.figures.items()
        },
        "intervals": "95%, percentile bootstrap over repetitions",
    }


def _table(measured: Measured, repetitions: int) -> str:
    levels = [needed.random for needed in next(iter(measured.figures.values())).needed]
    last = measured.checkpoints[-1]
    head = (
        "asked by",
        *(f"{level} random" for level in levels),
        f"log loss after {last}",
        f"picks after {last}",
        "opened",
    )
    return columns([head, *(_row(arm, measured.figures, repetitions) for arm in measured.figures)])


def _row(arm: Arm, figures: Mapping[Arm, Any], repetitions: int) -> tuple[str, ...]:
    of = figures[arm]
    opened = f"{of.gate_opened} of {repetitions}"
    if of.gate_opened_at is not None:
        opened += f", {of.gate_opened_at:.0f}"
    needed = [_votes(one.votes, one.ci95) for one in of.needed]
    low, high = of.picked_minus_random_ci95[-1]
    picks = f"{of.picked[-1]:.3f}, {of.picked_minus_random[-1]:+.3f} [{low:+.3f}, {high:+.3f}]"
    return arm.name, *needed, f"{of.log_loss[-1]:.4f}", picks, opened


def _votes(votes: float | None, ci95: tuple[float, float | None] | None) -> str:
    """Such as ``64 [51, 80]``."""
    if votes is None:
        return "not reached"
    if ci95 is None:
        return f"{votes:.0f}"
    low, high = ci95
    return f"{votes:.0f} [{low:.0f}, {'…' if high is None else f'{high:.0f}'}]"
