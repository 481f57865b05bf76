"""``tribrain reward explain``: which critics and contexts a reward model trusts, and how surely."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import orjson

from streams.errors import BadInput, counted
from streams.messages.files import read_snapshot
from trainers.bradley_terry.explain import Explanation, explain
from trainers.bradley_terry.reward import reward_on
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, FiniteFloat
from tribrain.shell.output import write_output
from tribrain.shell.renamed import Renamed
from tribrain.story.model import odds_lines


@click.command(
    "explain",
    cls=Command,
    epilog="Example: tribrain reward explain --reward runs/a/bt_reward.json --plot effects.png",
)
@click.option(
    "--reward",
    "model",
    cls=Renamed,
    old=("--model",),
    required=True,
    type=PATH,
    metavar="FILE",
    help="Reward model: a bt_reward.json.",
)
@click.option(
    "--step",
    type=FiniteFloat(min=0, min_open=True),
    default=0.25,
    help="Increase of a score to show the effect of, in the critic's unit.",
)
@options.dimension
@options.plot
@options.as_json
def explain_model(model: Path, step: float, dimension: str, plot: Path | None, as_json: bool) -> None:
    """Show how each critic and context changes the odds of being preferred, with 95% intervals.

    Each line is the effect of one score that is higher by --step while all others stay the same.
    "@arm=physics" is the effect of a prompt that was rewritten for physics, and "@key=value" that of any
    other context itself; "flicker.quality@world_model=dit-7b" is the critic's additional effect there. A
    river-logistic model is a point estimate, without intervals.
    """
    snapshot = read_snapshot(model)
    explanation = explain(reward_on(snapshot, dimension), step)
    if not explanation.effects and snapshot.dimensions:
        names = ", ".join(snapshot.dimensions)
        raise BadInput(f"{model}: nothing was learnt about overall; give --dimension: {names}")
    if not explanation.effects:
        raise BadInput(
            f"{model}: the model has learnt nothing yet, so there is nothing to explain; train it on pairs"
        )
    if plot is not None:
        from tribrain.rewards.result_plots import effects_plot

        write_output(plot, effects_plot(explanation).png)
    if as_json:
        click.echo(orjson.dumps({**asdict(explanation), "has_intervals": explanation.has_intervals}))
        return
    _print(explanation)
    if others := [name for name in snapshot.dimensions if name != dimension]:
        click.echo(f"--dimension shows the rewards of {', '.join(others)}")
    if plot is not None:
        click.echo(f"picture: {plot}")


def _print(explanation: Explanation) -> None:
    click.echo(f"model {explanation.model!r}, version {explanation.version}, {explanation.gate}")
    click.echo(explanation.statement)
    if (trusted := explanation.trusted) is not None:
        click.echo(
            f"Log loss {trusted['log_loss']:.3f} on {counted(trusted['n'], 'pair')} of people and "
            f"validators, predicted before they were learnt; the critics' mean has "
            f"{trusted['log_loss_critics_mean']:.3f}."
        )
    if explanation.ties_of_equals:
        click.echo(f"Two candidates with the same reward are a tie in {explanation.ties_of_equals:.0%}.")
    click.echo("\n".join(odds_lines(explanation)))
