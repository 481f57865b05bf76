"""``tribrain reward picks``: measures what preferences gain in picking the best of k candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from runner.lab.picks import NAMES, POLICIES, Interval, Judge, Picks, Policy, PolicyCurve, learn, measure
from streams.errors import BadInput, counted
from streams.messages.codec import ContractError
from streams.messages.files import read_candidates, read_pairs
from trainers.bradley_terry.estimators import LEARNERS, LearnerName
from trainers.pairs.withdrawn import standing
from tribrain.rewards.pair_files import read_current
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import FiniteFloat
from tribrain.shell.output import columns, progress, write_output

UNIT = "standard deviations"


@click.command(
    cls=Command,
    epilog="Example: tribrain reward picks --pairs train.jsonl --candidates-file candidates.jsonl --json",
)
@options.pairs_file
@options.candidates_file
@click.option(
    "--preference-weight",
    type=FiniteFloat(min=0),
    default=0.25,
    help="Largest change of the critics' mean by the reward model, and the most of it a pick gives up.",
)
@click.option("--learner", type=click.Choice(LEARNERS), default="laplace", help="Learning algorithm.")
@options.seed("Random seed of the orders of tasks and candidates, and of the intervals.")
@options.plot
@options.as_json
def evaluate_picks(
    pairs: Path,
    candidates: Path,
    preference_weight: float,
    learner: LearnerName,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Score the model's pick among k candidates, for every k, by the human score of what it picks.

    It is compared with the critics' mean, with the critic that is right most often on the training pairs, and
    with an oracle that sees the human scores. Critics are scaled to [0, 1] by their 1st and 99th percentile
    in the training pairs. Intervals are 95% of a bootstrap over tasks.
    """
    try:
        messages = standing(read_current([pairs], read_pairs))
    except ContractError as error:
        raise BadInput(f"{error}; a pair has task_id, label_source and the critics of both sides") from None
    try:
        offered = read_candidates(candidates)
    except ContractError as error:
        raise BadInput(
            f"{error}; a candidate has task_id, candidate_id, critic_scores and human_score"
        ) from None
    judge = learn(messages, learner, seed)
    with progress() as bar:
        task = bar.add_task("picking", total=len({candidate.task_id for candidate in offered}))
        picks = measure(
            offered,
            judge,
            preference_weight=preference_weight,
            seed=seed,
            on_progress=lambda n: bar.advance(task, n),
        )
    if plot is not None:
        from tribrain.rewards.result_plots import picks_plot

        write_output(plot, picks_plot(picks).png)
    if as_json:
        click.echo(orjson.dumps(_figures(picks, judge, preference_weight, seed)))
        return
    _print(picks, judge, preference_weight)
    if plot is not None:
        click.echo(f"picture: {plot}")


def _figures(picks: Picks, judge: Judge, preference_weight: float, seed: int) -> dict[str, Any]:
    """The figures for --json.

    ``human_score`` is in standard deviations from the candidates' mean, ``human_score_raw`` in its own unit.
    """
    policies = {
        policy: {
            **asdict(curve),
            "human_score_raw": [picks.human_mean + picks.human_sd * score for score in curve.human_score],
        }
        for policy, curve in picks.policies.items()
    }
    return {
        "tasks": picks.tasks,
        "tasks_per_k": picks.tasks_per_k,
        "k": picks.k,
        "policies": policies,
        "best_single_critic": judge.best_single_critic,
        "unit": UNIT,
        "human_score_mean": picks.human_mean,
        "human_score_sd": picks.human_sd,
        "learner": judge.snapshot.recipe["learner"],
        "preference_weight": preference_weight,
        "seed": seed,
        "statement": judge.snapshot.statement,
    }


def _print(picks: Picks, judge: Judge, preference_weight: float) -> None:
    click.echo(judge.snapshot.statement)
    click.echo(
        f"{counted(picks.tasks, 'task')} to pick from. "
        f"Human scores are in standard deviations ({picks.human_sd:.3g}) "
        f"from the candidates' mean ({picks.human_mean:.3g}), with 95% intervals. The combined reward has "
        f"preference weight {preference_weight:g}; the best single critic is {judge.best_single_critic}."
    )
    click.echo("\nHuman score of the candidate that is picked out of k:")
    click.echo(_by_k(picks, POLICIES, lambda curve: zip(curve.human_score, curve.ci95, strict=True)))
    click.echo("\nDifference from the critics' mean's pick:")
    others = [policy for policy in POLICIES if policy != "critics_mean"]
    click.echo(
        _by_k(picks, others, lambda c: zip(c.minus_critics_mean, c.minus_critics_mean_ci95, strict=True))
    )
    click.echo(f"\nCandidates needed for what the critics' mean picks out of {picks.k[-1]}:")
    needed = [(NAMES[p], picks.policies[p].candidates_for_means_best) for p in POLICIES]
    click.echo(columns([(name, "not reached" if n is None else f"{n:.1f}") for name, n in needed]))


def _by_k(
    picks: Picks,
    policies: Sequence[Policy],
    values: Callable[[PolicyCurve], Iterable[tuple[float, Interval | None]]],
) -> str:
    """A table with a line for each k and a column for each policy."""
    sides = [list(map(_with_interval, values(picks.policies[policy]))) for policy in policies]
    tasks = map(str, picks.tasks_per_k)
    return columns(
        [("k", "tasks", *(NAMES[p] for p in policies)), *zip(map(str, picks.k), tasks, *sides, strict=True)]
    )


def _with_interval(score: tuple[float, Interval | None]) -> str:
    value, interval = score
    return f"{value:+.3f}" + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else "")
