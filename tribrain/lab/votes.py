"""``tribrain lab votes``: how many votes a rule needs to teach as much as random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import orjson
from cloup import option_group

from runner.lab.judged_pairs import known_alone, read_judged_pairs
from runner.lab.vote_experiment import RULES, Arm, VoteExperimentFigures, arms_of, measure_votes
from streams.errors import counted
from streams.messages.files import read_candidates
from trainers.pairs.judgements import dimension_of
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, FiniteFloat, Integer
from tribrain.shell.output import columns, progress
from tribrain.shell.renamed import Renamed


@dataclass(frozen=True, slots=True, kw_only=True)
class VotesExperimentOptions:
    """The values of the command's options, by their names."""

    pairs: Path
    candidates: Path | None
    rules: Sequence[str]
    repetitions: int
    votes: int
    flips: Sequence[float]
    shares: Sequence[float]
    rising_share: bool
    who_made_each_side: bool
    seed: int
    as_json: bool


@click.command(
    cls=Command,
    epilog="Example: tribrain lab votes --pairs judged.jsonl --repetitions 12 --json",
)
@option_group(
    "Data",
    click.option(
        "--pairs",
        required=True,
        type=PATH,
        metavar="FILE",
        help="Judged pairs, ties included: a pairs.jsonl, or lines that name two candidates of a task, "
        "{task_id, chosen, rejected, tie}.",
    ),
    click.option(
        "--candidates-file",
        "candidates",
        cls=Renamed,
        old=("--candidates",),
        type=PATH,
        metavar="FILE",
        help="Candidates in JSON Lines, where pairs name them: task_id, candidate_id, critic_scores and "
        "human_score.",
    ),
)
@option_group(
    "Experiment",
    click.option(
        "--rule",
        "rules",
        type=click.Choice(RULES),
        multiple=True,
        default=RULES,
        show_default="all",
        help="Rule that chooses the pairs (repeatable).",
    ),
    click.option(
        "--max-votes",
        "votes",
        cls=Renamed,
        old=("--votes",),
        type=Integer(1, 400),
        default=400,
        help="Votes per repetition.",
    ),
    click.option(
        "--flips",
        type=FiniteFloat(0, 1),
        multiple=True,
        default=(0.0,),
        help="Share of wrong answers (repeatable).",
    ),
    click.option(
        "--random-share",
        "shares",
        type=FiniteFloat(0, 1),
        multiple=True,
        default=(0.0,),
        help="Share of votes on random pairs, which are evidence for the gate (repeatable).",
    ),
    click.option(
        "--rising-share", is_flag=True, help="Also measure the page's share of random votes, which rises."
    ),
    click.option(
        "--who-made-each-side",
        is_flag=True,
        help="Learn from who made each side, beside the critics.",
    ),
    click.option("--repetitions", type=Integer(min=2), default=12, help="Random splits of the tasks."),
    click.option(
        "--first-seed",
        "seed",
        cls=Renamed,
        old=("--seed",),
        type=Integer(min=0),
        default=0,
        help="First random seed; each repetition has the next.",
    ),
)
@option_group("Output", options.as_json)
def experiment_votes(**given: Any) -> None:
    """Measure how many votes each rule of choosing pairs needs to teach as much as random votes.

    A quarter of the tasks is held out. On the others a rule asks for one pair after the other, the file
    answers, and the trainer's learner learns; a tie costs a vote, too. Measured on the held-out tasks are the
    log loss, the quality of the model's pick (the share of its judged pairs that it wins, a tie as half), and
    when the gate opens by the votes that the model did not choose. Intervals are 95% of a bootstrap over the
    repetitions.
    """
    chosen = VotesExperimentOptions(**given)
    offered = read_candidates(chosen.candidates) if chosen.candidates is not None else []
    judged = [pair for pair in read_judged_pairs(chosen.pairs, offered) if not dimension_of(pair)]
    arms = arms_of(
        chosen.rules,
        chosen.flips,
        [*chosen.shares, None] if chosen.rising_share else chosen.shares,
        chosen.votes,
    )
    with progress() as bar:
        task = bar.add_task("repetitions × rules", total=chosen.repetitions * len(arms))
        measured = measure_votes(
            known_alone(judged, who_made_each_side=chosen.who_made_each_side),
            arms,
            seeds=range(chosen.seed, chosen.seed + chosen.repetitions),
            on_progress=lambda n: bar.advance(task, n),
        )
    if chosen.as_json:
        known = "who made each side" if chosen.who_made_each_side else "critics alone"
        click.echo(orjson.dumps(_summary(measured, known, chosen.seed)))
        return
    click.echo(
        f"{counted(len(judged), 'pair')} of {counted(measured.tasks, 'task')}, "
        f"{counted(measured.ties, 'tie')}; "
        f"{counted(chosen.repetitions, 'repetition')}. "
        "Votes needed for the log loss of so many random ones, with 95% intervals; picks: the "
        "share of its pairs that the picked candidate wins, and minus that after random votes; opened: "
        "repetitions in which the gate opened by votes that the model did not choose, and after how many."
    )
    click.echo(_table(measured, chosen.repetitions))


def _summary(measured: VoteExperimentFigures, known: str, seed: int) -> dict[str, Any]:
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


def _table(measured: VoteExperimentFigures, repetitions: int) -> str:
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
    """Votes with their 95% interval, such as ``64 [51, 80]``."""
    if votes is None:
        return "not reached"
    if ci95 is None:
        return f"{votes:.0f}"
    low, high = ci95
    return f"{votes:.0f} [{low:.0f}, {'…' if high is None else f'{high:.0f}'}]"
