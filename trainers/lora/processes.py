"""The processes that train together, and the trackers that they report to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from streams.errors import BadInput
from trainers.lora.training import TrainingStep


def join_processes(device: str, trackers: tuple[str, ...], out: Path) -> Any:
    """Joins the processes that ``accelerate launch`` may have started. Raises BadInput without a GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: PyTorch finds no usable GPU; give --device cpu")
    cpu = device == "cpu" or not torch.cuda.is_available()
    logs = str(out.with_name(f"{out.name}.logs"))
    return Accelerator(cpu=cpu, mixed_precision="no", log_with=list(trackers) or None, project_dir=logs)


@contextmanager
def reported(
    accelerator: Any, trackers: tuple[str, ...], plan: Mapping[str, Any]
) -> Iterator[Callable[[TrainingStep], None]]:
    if not trackers:
        yield lambda step: None
        return
    # Trackers accept different names and values.
    told = {
        re.sub(r"\W+", "_", name): value if isinstance(value, int | float | str) else str(value)
        for name, value in plan.items()
    }
    accelerator.init_trackers("tribrain-lora", config=told)

    def report(step: TrainingStep) -> None:
        values = {"loss": step.loss, "pairs_per_s": step.pairs_per_s}
        if step.measured and step.accuracy is not None:
            values |= {"held_out_accuracy": step.accuracy, "held_out_log_loss": step.log_loss or 0.0}
        accelerator.log(values, step=step.step)

    try:
        yield report
    finally:
        accelerator.end_training()
