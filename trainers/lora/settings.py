"""The settings of a training, with measured defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from streams.errors import BadInput
from trainers.lora.architectures import is_plain_attention

Precision = Literal["fp32", "bf16"]

Pooling = Literal["candidate", "mean", "native"]
"""``candidate``: the goal is read by itself, once for all its candidates; each candidate attends to it and to
itself. The candidate's tokens in the last layer are averaged, then one linear layer. ``mean``: goal and
candidate attend to each other, and the mean is over both. ``native``: the architecture's own head."""

TOP_HALF, ALL = "top-half", "all"


@dataclass(frozen=True, slots=True)
class LoraSettings:
    pooling: Pooling | Literal["auto"] = "auto"
    """``auto``: ``candidate`` if the architecture supports it, else ``mean``; see ``for_base``."""
    rank: int = 16
    alpha: float | None = None
    """None: twice the rank."""
    targets: tuple[str, ...] = ()
    """Linear layers to adapt; empty: all in a block."""
    layers: str = TOP_HALF
    """``top-half``, ``all``, or a number, counted from the top."""
    lr: float = 1e-3
    epochs: int = 1
    batch: int = 16
    """Pairs per step, over all processes."""
    length: int = 256
    """Tokens of goal and candidate together."""
    precision: Precision = "fp32"
    seed: int = 0
    threads: int = 1
    held_out: float = 0.2
    """Fraction of the tasks that is held out."""
    patience: int | None = None
    """Evaluations without a better held-out log loss before training stops early; None: never."""
    evaluations: int = 2
    """Number of evaluations on the held-out part during training."""
    checkpoint_every: int = 50
    """Steps from one checkpoint to the next."""
    weight_decay: float = 0.01
    warm_up: float = 0.06
    """Fraction of the steps in which the learning rate rises."""
    clip: float = 1.0

    @property
    def scale(self) -> float:
        """PEFT's factor on B A."""
        return (2.0 * self.rank if self.alpha is None else self.alpha) / self.rank

    def for_base(self, config: Mapping[str, Any]) -> LoraSettings:
        """The settings with the pooling for a base model of this configuration. Raises BadInput."""
        plain = is_plain_attention(config)
        if self.pooling == "auto":
            return replace(self, pooling="candidate" if plain else "mean")
        if self.pooling == "candidate" and not plain:
            raise BadInput(
                f"--pooling candidate: a {config.get('model_type')!r} has special attention, so "
                "that a goal cannot be read by itself; give mean or native"
            )
        return self

    def layer_numbers(self, n_layers: int) -> list[int]:
        """Indices of the adapted layers, from the bottom. Raises BadInput."""
        if self.layers in (TOP_HALF, ALL):
            n = n_layers if self.layers == ALL else (n_layers + 1) // 2
        elif self.layers.isdecimal() and 1 <= int(self.layers) <= n_layers:
            n = int(self.layers)
        else:
            raise BadInput(
                f"--layers {self.layers}: expected {TOP_HALF}, {ALL}, or a number from 1 to {n_layers}, "
                "the number of the base model's layers"
            )
        return list(range(n_layers - n, n_layers))

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate at step 0, 1, …: rises linearly during warm-up, then falls linearly to 0."""
        warm_up = max(1, round(self.warm_up * steps))
        if step < warm_up:
            return self.lr * (step + 1) / warm_up
        return self.lr * (steps - step) / max(1, steps - warm_up)
