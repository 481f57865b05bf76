"""The training loop: pairs in a fixed order, step by step, bit for bit reproducible."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streams.errors import BadInput
from trainers.lora.batches import batch_order, filled
from trainers.lora.checkpoint import Progress, TrainingCheckpoint, copied
from trainers.lora.model import Built, pairwise_loss
from trainers.lora.scoring import rewards, score
from trainers.lora.settings import LoraSettings
from trainers.lora.tokens import Encoded

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EncodedPairs:
    chosen: Sequence[Encoded]
    rejected: Sequence[Encoded]
    weights: Array
    """(n,)"""

    def tokens(self, pooling: str) -> list[int]:
        """Cost of each pair: a shared goal counts once (``candidate``), or twice the longer, padded side."""
        sides = zip(self.chosen, self.rejected, strict=True)
        if pooling != "candidate":
            return [2 * max(len(c.ids), len(r.ids)) for c, r in sides]
        return [len(c.ids) + (r.candidate_tokens if c.goal == r.goal else len(r.ids)) for c, r in sides]


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """What can be shown after each step."""

    step: int
    steps: int
    loss: float
    """Mean training loss over the last steps."""
    accuracy: float | None
    """Held-out accuracy, as last measured."""
    log_loss: float | None
    pairs: int
    """Pairs that this process's training has seen since it started or resumed."""
    pairs_per_s: float
    """Pairs per second, over all processes."""
    measured: bool
    """The held-out part was measured after this step."""


class Trainer:
    """One training on one process, or on this process's share of several."""

    def __init__(
        self, model: Any, built: Built, train: EncodedPairs, held_out: EncodedPairs, settings: LoraSettings
    ) -> None:
        self._model, self._built, self._train, self._held_out = model, built, train, held_out
        self._settings, self._tokens = settings, train.tokens(settings.pooling)
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._start = copied(self._parameters)
        self._best: dict[str, Tensor] = {}
        self._predictions: Array | None = None
        self._optimiser = torch.optim.AdamW(
            self._parameters.values(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.progress = Progress()

    @property
    def steps(self) -> int:
        return math.ceil(len(self._train.chosen) / self._settings.batch) * self._settings.epochs

    def run(
        self, accelerator: Any, checkpoint: TrainingCheckpoint, on_step: Callable[[TrainingStep], None]
    ) -> None:
        """Train to the end, from the checkpoint if there is one. Raises BadInput if the loss diverges."""
        self._load(checkpoint)
        done = self.progress
        pairs, seconds_before = 0, done.seconds
        per_epoch = self.steps // self._settings.epochs
        n = self._settings.evaluations
        to_measure = {max(1, round(self.steps * number / n)) for number in range(1, n + 1)}
        epoch, order = -1, [[0]]
        while done.step < self.steps and not self._is_enough():
            if done.step // per_epoch != epoch:
                epoch = done.step // per_epoch
                order = batch_order(self._tokens, self._settings.batch, self._settings.seed, epoch)
            batch = order[done.step % per_epoch]
            wall, cpu = time.perf_counter(), time.process_time()
            loss = self._step(batch, accelerator)
            done.cpu_seconds += time.process_time() - cpu
            done.seconds += time.perf_counter() - wall
            if not math.isfinite(loss):
                raise BadInput(
                    f"the loss is no longer finite at step {done.step + 1}; give a smaller --lr than "
                    f"{self._settings.lr:g}"
                )
            done.losses.append(loss)
            done.step += 1
            pairs += len(batch)
            measured = done.step in to_measure
            if measured:
                self._measure(str(accelerator.device))
            if accelerator.is_main_process and (
                done.step % self._settings.checkpoint_every == 0 or done.step == self.steps
            ):
                self._save(checkpoint)
            spent = done.seconds - seconds_before
            accuracy, log_loss = done.evaluations[-1][1:] if done.evaluations else (None, None)
            recent = float(np.mean(done.losses[-20:]))
            on_step(
                TrainingStep(
                    done.step, self.steps, recent, accuracy, log_loss, pairs, pairs / spent, measured
                )
            )
        if self._settings.patience is not None and self._best:
            self._predictions = None
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(self._best[name])
        self._check_moved()

    def predictions(self, device: str) -> Array:
        """P(chosen ≻ rejected) (n,) of the held-out pairs, in fp32."""
        if self._predictions is None:
            self._predictions = self.predictions_now(device)
        return self._predictions

    def predictions_now(self, device: str) -> Array:
        """Like ``predictions``, but with the model's current weights."""
        encoded = [*self._held_out.chosen, *self._held_out.rejected]
        chosen, rejected = np.split(score(self._model, self._built, encoded, device), 2)
        return np.asarray(np.exp(-np.logaddexp(0.0, rejected - chosen)))

    def _step(self, batch: Sequence[int], accelerator: Any) -> float:
        """One optimiser step. Returns the mean loss of the whole batch."""
        mine = batch[accelerator.process_index :: accelerator.num_processes]
        device = str(accelerator.device)
        # Weights are relative to the mean of all pairs, so a batch of light pairs moves little.
        share = 1.0 / (float(self._train.weights.mean()) * len(batch))
        loss = torch.zeros((), device=device)
        bf16 = self._settings.precision == "bf16"
        by_length = sorted(mine, key=lambda at: self._tokens[at])
        for part in filled(by_length, self._tokens) if device == "cpu" else filter(None, [mine]):
            encoded = [side[at] for side in (self._train.chosen, self._train.rejected) for at in part]
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
                rewards_2P = rewards(self._model, self._built, encoded, device)
            weights_P = torch.tensor(self._train.weights[part] * share, dtype=torch.float32, device=device)
            of_part = pairwise_loss(rewards_2P, weights_P)
            of_part.backward()
            loss += of_part.detach()
        if accelerator.num_processes > 1:
            loss = self._reduce(accelerator, loss)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._settings.clip)
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.learning_rate(self.progress.step, self.steps)
        self._optimiser.step()
        self._predictions = None
        self._optimiser.zero_grad()
        return float(loss.detach())

    def _reduce(self, accelerator: Any, loss: Tensor) -> Tensor:
        """Sums gradients and loss over the processes, in one message."""
        for parameter in self._parameters.values():
            if parameter.grad is None:  # this process has no pair of the batch
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self._parameters.values()]
        flat = torch.cat([g.flatten() for g in gradients if g is not None] + [loss.detach().reshape(1)])
        flat = accelerator.reduce(flat, reduction="sum")
        start = 0
        for parameter in self._parameters.values():
            parameter.grad = flat[start : start + parameter.numel()].view_as(parameter).clone()
            start += parameter.numel()
        return flat[-1]

    def _measure(self, device: str) -> None:
        p = self.predictions(device)
        right = float(np.mean((p > 0.5) + 0.5 * (p == 0.5)))
        loss = float(np.mean(-np.log(np.maximum(p, 1e-12))))
        done = self.progress
        best = min((one[2] for one in done.evaluations), default=math.inf)
        done.evaluations.append((done.step, right, loss))
        if loss < best:
            done.best_step = done.step
            if self._settings.patience is not None:
                self._best = copied(self._parameters)

    def _is_enough(self) -> bool:
        done, patience = self.progress, self._settings.patience
        return (
            patience is not None and sum(e[0] > (done.best_step or 0) for e in done.evaluations) >= patience
        )

    def _save(self, checkpoint: TrainingCheckpoint) -> None:
        tensors = {f"parameter.{name}": p for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            state = self._optimiser.state[parameter]
            tensors |= {f"{what}.{name}": state[what] for what in ("exp_avg", "exp_avg_sq")}
        checkpoint.save(self.progress, tensors | {f"best.{name}": t for name, t in self._best.items()})

    def _load(self, checkpoint: TrainingCheckpoint) -> None:
        found = checkpoint.load()
        if found is None:
            return
        self.progress, tensors = found
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"parameter.{name}"])
                state = {
                    what: tensors[f"{what}.{name}"].to(parameter.device) for what in ("exp_avg", "exp_avg_sq")
                }
                self._optimiser.state[parameter] = {"step": torch.tensor(float(self.progress.step)), **state}
                if f"best.{name}" in tensors:
                    self._best[name] = tensors[f"best.{name}"].to(parameter.device)

    def _check_moved(self) -> None:
        still = [name for name, p in self._parameters.items() if torch.equal(p.detach(), self._start[name])]
        if still:
            raise BadInput(
                f"{len(still)} of {len(self._parameters)} trainable weights have not moved, e.g. {still[0]}; "
                "give a larger --lr, or other --targets"
            )
