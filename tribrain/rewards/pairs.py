"""``tribrain pairs export`` and ``reward train``: pairs of a finished run, and a reward model of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from streams.errors import BadInput, counted
from streams.messages.codec import ContractError, encode
from streams.messages.contracts import PairMessage, PairStrategy, PreferencePair
from streams.messages.files import read_events_by_run, read_pairs
from trainers.bradley_terry.estimators import DEFAULT_LEARNER, LearnerName, Recipe
from trainers.bradley_terry.reward import reward_on
from trainers.pairs.pairing import PairingRules, pairs_of_run
from trainers.pairs.withdrawn import standing
from tribrain.rewards.pair_files import read_current
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, FiniteFloat, Integer
from tribrain.shell.output import progress, write_output
from tribrain.shell.renamed import Renamed
from tribrain.story.model import odds_of_all


@click.command(
    cls=Command,
    epilog="Example: tribrain pairs export --run-dir runs/a --out runs/a/pairs.jsonl --top-k 2",
)
@click.option(
    "--run-dir", required=True, type=PATH, metavar="FOLDER", help="Folder of the run, with trace.jsonl."
)
@options.out("Pairs file to write, in JSON Lines.", metavar="FILE", old=("--out-path",))
@options.strategy
@options.min_gap
@options.top_k
@options.model
@options.as_json
def export_preference_pairs(
    run_dir: Path, out: Path, strategy: PairStrategy, min_gap: float, top_k: int, model: str, as_json: bool
) -> None:
    """Write the preference pairs of a finished run, best first, in JSON Lines.

    Pairs by the critics' scores come first, then pairs by outcome, where a validator or a person has judged
    iterations. A trace with several runs gives the pairs of each run in turn. An iteration that occurs twice
    counts once.
    """
    runs = read_events_by_run(run_dir / "trace.jsonl")
    rules = PairingRules(strategy=strategy, min_gap=min_gap, top_k=top_k, model=model)
    pairs = [pair for events in runs.values() for pair in pairs_of_run(events, rules)]
    write_output(out, b"".join(encode(pair) + b"\n" for pair in pairs))
    sources = dict(Counter(pair.label_source for pair in pairs))
    if as_json:
        click.echo(orjson.dumps({"pairs": len(pairs), "pairs_by_label_source": sources, "out": str(out)}))
    else:
        made_of = ", ".join(f"{n:,} {source}" for source, n in sources.items()) or "none"
        of_runs = f" of {counted(len(runs), 'run')}" if len(runs) > 1 else ""
        iterations = counted(sum(map(len, runs.values())), "iteration")
        click.echo(f"{counted(len(pairs), 'pair')} ({made_of}) of {iterations}{of_runs} written to {out}")


@click.command(
    cls=Command,
    epilog="Example: tribrain reward train --pairs runs/a/pairs.jsonl --out runs/a/bt_reward.json",
)
@click.option(
    "--pairs",
    cls=Renamed,
    old=("--pairs-jsonl",),
    required=True,
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Preference pairs to learn from (repeatable).",
)
@options.out("Reward model file to write, e.g. bt_reward.json.", metavar="FILE", old=("--out-path",))
@click.option("--epochs", type=Integer(min=1), default=1, help="Passes over the pairs.")
@click.option(
    "--lr",
    type=FiniteFloat(min=0, min_open=True),
    show_default="1.1",
    help="Learning rate; only with --learner river-logistic.",
)
@click.option("--seed", type=Integer(), default=0, help="Random seed of the order of later passes.")
@options.learner("Learning algorithm.")
@options.model
@options.as_json
def train_preference_rm(
    pairs: tuple[Path, ...],
    out: Path,
    epochs: int,
    lr: float | None,
    seed: int,
    learner: LearnerName | None,
    model: str,
    as_json: bool,
) -> None:
    """Train a Bradley–Terry reward model on preference pairs, in the order of the files.

    The learner is that of the live trainer. The first pass predicts each pair before learning it, which gives
    the model's log loss; later passes only learn.
    """
    # Not at the top: what learns takes a second to load, and --help needs none of it.
    from trainers.online.train import train_on_pairs

    given = {} if lr is None else {"lr": lr}
    if given and learner == "laplace":
        raise BadInput("--lr is for --learner river-logistic; laplace has no learning rate: leave it out")
    recipe = Recipe(learner=learner or ("river-logistic" if given else DEFAULT_LEARNER), parameters=given)
    try:
        messages = read_current(pairs, read_pairs)
    except ContractError as error:
        raise BadInput(f"{error}; export the pairs again with tribrain pairs export") from None
    with progress() as bar:
        task = bar.add_task("learning", total=len(messages) * epochs)
        snapshot = train_on_pairs(
            messages,
            model=model,
            recipe=recipe,
            epochs=epochs,
            seed=seed,
            on_progress=lambda n: bar.advance(task, n),
        )
    write_output(out, encode(snapshot))
    repeated = _given(messages, model) - snapshot.n_pairs
    if as_json:
        dimensions = {
            name: {"metrics": reward.metrics, "weights": reward_on(snapshot, name).weights}
            for name, reward in snapshot.dimensions.items()
        }
        made = {"out": str(out), "metrics": snapshot.metrics, "weights": snapshot.weights}
        click.echo(orjson.dumps({**made, "dimensions": dimensions, "repeated_pairs": repeated}))
        return
    click.echo(f"{out}: {snapshot.statement}")
    click.echo("\n".join(odds_of_all(snapshot)))
    if repeated:
        click.echo(
            f"left out: {counted(repeated, 'pair')} with pair_id, annotator and answer of an earlier one; "
            "votes of several people are told apart by meta.annotator"
        )


def _given(messages: Sequence[PairMessage], model: str) -> int:
    """Number of pairs for the model that are not taken back."""
    return sum(isinstance(pair, PreferencePair) and pair.model == model for pair in standing(messages))
