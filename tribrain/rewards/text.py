"""``tribrain train-text-rm``: a text reward model of pairs, without PyTorch."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from streams.errors import BadInput
from streams.messages.codec import ContractError, encode
from streams.messages.contracts import PairMessage
from streams.messages.files import read_text_pairs
from trainers.pairs.withdrawn import standing
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH
from tribrain.shell.output import progress, write_output


@click.command(
    cls=Command,
    epilog="Example: tribrain reward train-text --pairs runs/a/pairs.jsonl --out runs/a/text_reward.json",
)
@click.option("--pairs", required=True, multiple=True, type=PATH, help="A pairs file (repeatable).")
@click.option("--out", required=True, type=PATH, help="The snapshot to write.")
@options.model
@options.as_json
def train_text_rm(pairs: tuple[Path, ...], out: Path, model: str, as_json: bool) -> None:
    """Learn which text is preferred from n-grams of characters, in one pass in the order of the files.

    The same learner as serve-text's. All pairs of a task are predicted before any of them is learnt, which
    gives the figures in the snapshot. A line needs goal_instruction, chosen_prompt and rejected_prompt.
    """
    messages = [message for path in pairs for message in _read(path)]

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
            f"  {source}: accuracy {of['accuracy']:.3f}, log loss {of['log_loss']:.3f} over {of['n']} pairs "
            f"(chance .500, {of['log_loss_chance']:.3f}), each predicted before its task was learnt"
        )
    if equal := snapshot.metrics["equal_texts"]:
        click.echo(f"  {equal} pairs have two equal texts and say nothing")


def _read(path: Path) -> list[PairMessage]:
    try:
        return standing(read_text_pairs(path))
    except ContractError as error:
        raise BadInput(f"{error}; a pair has goal_instruction, chosen_prompt and rejected_prompt") from None
