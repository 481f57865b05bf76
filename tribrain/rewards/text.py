"""``tribrain reward train-text``: trains a text reward model on pairs, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from streams.errors import BadInput, counted
from streams.messages.codec import ContractError, encode
from streams.messages.contracts import PairMessage
from streams.messages.files import read_text_pairs
from trainers.pairs.withdrawn import standing
from tribrain.rewards.pair_files import read_current
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.output import progress, write_output


@click.command(
    cls=Command,
    epilog="Example: tribrain reward train-text --pairs runs/a/pairs.jsonl --out runs/a/text_reward.json",
)
@options.pairs_files
@options.out("Reward model file to write, e.g. text_reward.json.", metavar="FILE")
@options.model
@options.as_json
def train_text_rm(pairs: tuple[Path, ...], out: Path, model: str, as_json: bool) -> None:
    """Train a text reward model on character n-grams, in one pass in the order of the files.

    The learner is that of tribrain serve text. All pairs of a task are predicted before any of them is
    learnt, which gives the model's accuracy and log loss. A pair needs goal_instruction, chosen_prompt and
    rejected_prompt.
    """
    messages = _read(pairs)

    from trainers.text.train import train_on_texts

    with progress() as bar:
        task = bar.add_task("learning", total=len(messages))
        snapshot = train_on_texts(messages, model=model, on_progress=lambda n: bar.advance(task, n))
    write_output(out, encode(snapshot))
    if as_json:
        click.echo(orjson.dumps({
            "out": str(out), "statement": snapshot.statement, "version": snapshot.version,
            "gate": snapshot.gate, "labels": snapshot.labels, "metrics": snapshot.metrics,
        }))  # fmt: skip
        return
    click.echo(f"{out}: {snapshot.statement}")
    for source, of in snapshot.metrics["by_label_source"].items():
        click.echo(
            f"  {source}: accuracy {of['accuracy']:.3f}, log loss {of['log_loss']:.3f} "
            f"over {counted(of['n'], 'pair')} "
            f"(chance: 0.500, {of['log_loss_chance']:.3f}), each predicted before its task was learnt"
        )
    if equal := snapshot.metrics["equal_texts"]:
        click.echo(f"  {counted(equal, 'pair')} with two equal texts: nothing is learnt from equal texts")
    if empty := snapshot.metrics.get("empty_texts"):
        click.echo(f"  {counted(empty, 'pair')} with an empty text left out")


def _read(paths: Sequence[Path]) -> list[PairMessage]:
    try:
        return standing(read_current(paths, read_text_pairs))
    except ContractError as error:
        raise BadInput(f"{error}; a pair has goal_instruction, chosen_prompt and rejected_prompt") from None
