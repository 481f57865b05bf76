"""Options of the training of a LoRA text reward model, offline and live."""

from __future__ import annotations

import click

from trainers.lora.settings import ALL, TOP_HALF, Settings
from tribrain.shell.option_types import FiniteFloat, Integer

_DEFAULT = Settings()

rank = click.option("--rank", type=Integer(min=1), default=_DEFAULT.rank, help="LoRA rank.")
layers = click.option(
    "--layers",
    default=TOP_HALF,
    metavar=f"{TOP_HALF}|{ALL}|N",
    help="Transformer layers to adapt; N counts from the top.",
)
length = click.option(
    "--length",
    type=Integer(min=16),
    default=_DEFAULT.length,
    help="Tokens of goal and candidate together; longer texts lose the goal's beginning.",
)
lr = click.option(
    "--lr", type=FiniteFloat(min=0, min_open=True), default=_DEFAULT.lr, help="Highest learning rate."
)
epochs = click.option("--epochs", type=Integer(min=1), default=1, help="Passes over the pairs.")
batch = click.option("--batch", type=Integer(min=1), default=_DEFAULT.batch, help="Pairs per step.")
