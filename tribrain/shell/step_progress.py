"""The steps of a training of a text reward model as a bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from tribrain.shell.output import progress

if TYPE_CHECKING:
    from trainers.lora.training import TrainingStep


@contextmanager
def steps_shown(
    is_main: bool = True, *, says_lines: bool = False
) -> Iterator[Callable[[TrainingStep], None]]:
    """Gives a function to call after each step; of several processes only the main one shows progress.

    On a terminal that is a bar; elsewhere, with ``says_lines``, a line on standard error at each evaluation.
    """
    if not is_main:
        yield lambda step: None
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with progress(*columns) as bar:
        task = bar.add_task("", total=None)

        def show(step: TrainingStep) -> None:
            accuracy = "–" if step.accuracy is None else f"{step.accuracy:.3f}"
            said = f"loss {step.loss:.3f}, held-out accuracy {accuracy}, {step.pairs_per_s:.1f} pairs/s"
            bar.update(task, total=step.steps, completed=step.step, description=said)
            if says_lines and step.measured and not bar.console.is_terminal:
                click.echo(f"step {step.step} of {step.steps}: {said}", err=True)

        yield show
