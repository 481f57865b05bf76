"""``tribrain train-text-rm``: a text reward model of n-grams, from pairs files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from streams.codec import ContractError, encode
from streams.contracts import PairMessage
from streams.errors import BadInput
from streams.files import read_text_pairs
from trainers.text.train import train_on_texts
from tribrain import options
from tribrain.output import progress, write_output


@click.command(
    epilog="Example: tribrain train-text-rm --pairs runs/a/pairs.jsonl --pairs runs/b/pairs.jsonl "
    "--out runs/text_reward.json"
)
@click.option(
    "--pairs", "files", required=True, multiple=True, type=options.PATH, help="A pairs file (repeatable)."
)
@click.option("--out", required=True, type=options.PATH, help="The model to write: a text_reward.json.")
@options.model
@options.as_json
def train_text_rm(files: tuple[Path, ...], out: Path, model: str, as_json: bool) -> None:
    """Learn from pairs of prompts which words make a prompt better, in one pass and without PyTorch.

    The same learner as serve-text. A line needs goal_instruction, chosen_prompt and rejected_prompt; the
    goal says which pairs belong together where no run_id or task_id does. Every pair of a task is predicted
    before any pair of the task is learnt, and the figures are of these predictions.
    """
    messages: list[PairMessage] = [message for path in files for message in _read(path)]
    with progress() as bar:
        task = bar.add_task("learning", total=len(messages))
        snapshot = train_on_texts(messages, model=model, on_progress=lambda n: bar.advance(task, n))
    write_output(out, encode(snapshot))
    if as_json:
        click.echo(orjson.dumps({"out": str(out), "gate": snapshot.gate, "metrics": snapshot.metrics}))
        return
    click.echo(f"{out}: {snapshot.statement}")
    for source, figures in snapshot.metrics["by_label_source"].items():
        click.echo(f"  {_told(source, figures)}")
    if snapshot.metrics["equal_texts"]:
        click.echo(f"  {snapshot.metrics['equal_texts']} pairs of equal texts say nothing")


def _read(path: Path) -> list[PairMessage]:
    try:
        return read_text_pairs(path)
    except ContractError as error:
        raise BadInput(f"{error}; a pair has goal_instruction, chosen_prompt and rejected_prompt") from None


def _told(source: str, figures: dict[str, Any]) -> str:
    accuracy, loss, chance = (figures[name] for name in ("accuracy", "log_loss", "log_loss_chance"))
    return (
        f"{figures['n']} {source} labels, predicted before their task was learnt: accuracy {accuracy:.3f}, "
        f"log loss {loss:.3f} (chance {chance:.3f})"
    )
