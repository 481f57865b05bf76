"""What a training is told: its recipe, and the defaults that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from streams.errors import BadInput
from trainers.lora.architectures import is_plain_attention

Precision = Literal["fp32", "bf16"]

Pooling = Literal["candidate", "mean", "native"]
"""``candidate``: the goal is read by itself, once for all its candidates, each of which sees it and itself;
the mean of the candidate's tokens in the last layer, and one linear layer. ``mean``: goal and candidate see
each other, and the mean is of both. ``native``: the architecture's own head."""

TOP_HALF, ALL = "top-half", "all"


@dataclass(frozen=True, slots=True)
class LoraSettings:
    pooling: Pooling | Literal["auto"] = "auto"
    """``auto``: ``candidate`` where the architecture can, else ``mean``; see ``for_base``."""
    rank: int = 16
    alpha: float | None = None
    """None: twice the rank."""
    targets: tuple[str, ...] = ()
    """Linear layers to adapt; empty: all of a block."""
    layers: str = TOP_HALF
    """``top-half``, ``all``, or how many, counted from the top."""
    lr: float = 1e-3
    epochs: int = 1
    batch: int = 16
    """Pairs a step, over all processes."""
    length: int = 256
    """Tokens of goal and candidate together."""
    precision: Precision = "fp32"
    seed: int = 0
    threads: int = 1
    held_out: float = 0.2
    """Share of the tasks."""
    patience: int | None = None
    """Evaluations without a better held-out log loss after which training ends; None: never early."""
    evaluations: int = 2
    """Times that the held-out part is measured while training."""
    checkpoint_every: int = 50
    """Steps."""
    weight_decay: float = 0.01
    warm_up: float = 0.06
    """Share of the steps."""
    clip: float = 1.0

    @property
    def scale(self) -> float:
        """What PEFT multiplies B A with."""
        return (2.0 * self.rank if self.alpha is None else self.alpha) / self.rank

    def for_base(self, config: Mapping[str, Any]) -> LoraSettings:
        """With the pooling that a base model of this configuration gets. Raises BadInput."""
        plain = is_plain_attention(config)
        if self.pooling == "auto":
            return replace(self, pooling="candidate" if plain else "mean")
        if self.pooling == "candidate" and not plain:
            raise BadInput(
                f"--pooling candidate: a {config.get('model_type')!r} has an attention of its own kind, so "
                "that a goal cannot be read by itself; give mean or native"
            )
        return self

    def layer_numbers(self, n_layers: int) -> list[int]:
        """Which of the layers are adapted, from the bottom. Raises BadInput."""
        if self.layers in (TOP_HALF, ALL):
            n = n_layers if self.layers == ALL else (n_layers + 1) // 2
        elif self.layers.isdecimal() and 1 <= int(self.layers) <= n_layers:
            n = int(self.layers)
        else:
            raise BadInput(
                f"--layers {self.layers}: expected {TOP_HALF}, {ALL}, or a number from 1 to {n_layers}, "
                "as the base model has so many layers"
            )
        return list(range(n_layers - n, n_layers))

    def learning_rate(self, step: int, steps: int) -> float:
        """Of step 0, 1, …: up in a line over the warm-up, then down in a line to 0."""
        warm_up = max(1, round(self.warm_up * steps))
        if step < warm_up:
            return self.lr * (step + 1) / warm_up
        return self.lr * (steps - step) / max(1, steps - warm_up)
