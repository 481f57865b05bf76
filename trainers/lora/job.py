"""Makes a finished adapter from prepared pairs: train, measure, write."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor

from streams.errors import BadInput
from trainers.lora.adapter import CONFIG, LORA, REWARD, SCHEMA, WEIGHTS, config_file, weights_file
from trainers.lora.architectures import targets_of
from trainers.lora.baselines import CHANCE, LENGTH, ONLINE, TFIDF, Array, baselines
from trainers.lora.checkpoint import Progress, TrainingCheckpoint
from trainers.lora.comparison import differences, measured
from trainers.lora.low_rank import adapter_tensors, put_adapter, with_peft
from trainers.lora.model import Built, build
from trainers.lora.model_card import model_card
from trainers.lora.prepare import PACKAGES, Prepared
from trainers.lora.settings import LoraSettings
from trainers.lora.texts import pairs_sha256
from trainers.lora.training import Trainer, TrainingStep

PLOT = "training.png"
_POINTS = 30
"""Most intervals over which ``history`` averages the training loss."""


def train(
    prepared: Prepared,
    name: str,
    checkpoint: TrainingCheckpoint,
    accelerator: Any,
    on_step: Callable[[TrainingStep], None],
    draw: Callable[[Mapping[str, Any]], bytes],
) -> dict[str, Any]:
    """Train, measure and write the folder. Returns the content of its ``reward.json``. Raises BadInput."""
    settings, device = prepared.settings, str(accelerator.device)
    plan = prepared.plan(accelerator.num_processes, accelerator.device.type)
    model, built, trainer = fit(prepared, checkpoint, accelerator, on_step, plan)
    if not accelerator.is_main_process:
        return {}
    weights = weights_file(adapter_tensors(model))
    metrics = _metrics(prepared, trainer.predictions(device))
    progress = trainer.progress
    reward = {
        "schema": SCHEMA,
        "kind": "lora",
        "model": name,
        "pooling": settings.pooling,
        "length": settings.length,
        "scale": settings.scale,
        "base_model": base_of(prepared),
        "adapter": adapter_of(model, weights),
        "pairs": pairs_of(prepared),
        "metrics": metrics,
        "training": _training(prepared, trainer, accelerator),
        "history": history(progress),
        "versions": {package: version(package) for package in PACKAGES},
        "plan": plan,
    }
    files = {
        WEIGHTS: weights,
        CONFIG: config_file(model.peft_config["default"], prepared.base.name),
        "README.md": model_card(
            reward, [*prepared.notes(), *_caveats(settings)], built.pad_id, plot=PLOT
        ).encode(),
        PLOT: draw(reward),
        # Last, because a folder with this file is an adapter.
        REWARD: orjson.dumps(reward, option=orjson.OPT_INDENT_2) + b"\n",
    }
    try:
        checkpoint.publish(files)
    except OSError as error:
        raise BadInput(
            f"{checkpoint.out}: cannot be written: {error.strerror}; make room and continue with --resume"
        ) from None
    return reward


def fit(
    prepared: Prepared,
    checkpoint: TrainingCheckpoint,
    accelerator: Any,
    on_step: Callable[[TrainingStep], None],
    plan: Mapping[str, Any],
    start: Mapping[str, Tensor] | None = None,
) -> tuple[Any, Built, Trainer]:
    """Train to the end, from the checkpoint if there is one; ``start`` are the initial tensors.

    Returns the PEFT model, its base, and the trainer. Raises BadInput.
    """
    settings = prepared.settings
    torch.set_num_threads(settings.threads)
    if accelerator.is_main_process:
        checkpoint.begin(plan)
    accelerator.wait_for_everyone()
    built = build(prepared.base, prepared.pooling, settings.seed)
    model = with_peft(
        built,
        rank=settings.rank,
        alpha=settings.rank * settings.scale,
        targets=targets_of(prepared.base.model_type, settings.targets),
        layers=settings.layer_numbers(built.n_layers),
    ).to(str(accelerator.device))
    if start is not None:
        put_adapter(model, start)
    trainer = Trainer(model, built, prepared.encoded_train, prepared.encoded_held_out, settings)
    trainer.run(accelerator, checkpoint, on_step)
    return model, built, trainer


def base_of(prepared: Prepared) -> dict[str, Any]:
    """Name, sizes and hashes of the base model, for ``reward.json``."""
    return {
        "name": prepared.base.name,
        "model_type": prepared.base.model_type,
        "sha256": prepared.base_sha256,
        "bytes": prepared.base.size_bytes,
        "tokenizer": prepared.base.name,
        "tokenizer_sha256": prepared.tokenizer_sha256,
    }


def adapter_of(model: Any, weights: bytes) -> dict[str, Any]:
    """File, size and hash of the adapter, for ``reward.json``."""
    return {
        "file": WEIGHTS,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def _metrics(prepared: Prepared, predictions: Array) -> dict[str, Any]:
    everyone = {LORA: predictions, **baselines(prepared.train, prepared.held_out)}
    seed, tasks = prepared.settings.seed, [pair.task for pair in prepared.held_out]
    found = differences(everyone, LORA, tasks, seed)
    return {
        "models": measured(everyone, tasks, seed),
        "lora_minus": {other: asdict(difference) for other, difference in found.items()},
        "statement": found[TFIDF].statement(LORA, TFIDF),
        "statements": [found[other].statement(LORA, other) for other in (TFIDF, ONLINE, LENGTH, CHANCE)],
        "intervals": "95%, paired bootstrap over held-out tasks, 2000 resamples",
    }


def pairs_of(prepared: Prepared) -> dict[str, Any]:
    """Numbers of pairs used, and of all pairs, for ``reward.json``."""
    return {
        "sha256": pairs_sha256(prepared.train, prepared.held_out),
        "train": len(prepared.train),
        "held_out": len(prepared.held_out),
        "train_tasks": len({pair.task for pair in prepared.train}),
        "held_out_tasks": len({pair.task for pair in prepared.held_out}),
        "label_sources": list(prepared.selected.sources),
        "other_label_sources_left_out": prepared.selected.n_others,
        "empty_texts_dropped": prepared.selected.n_empty,
        "equal_texts_dropped": prepared.selected.n_equal,
        "goals_cut": prepared.cut_goals,
        "candidates_cut": prepared.cut_candidates,
        **asdict(prepared.checks),
    }


def _training(prepared: Prepared, trainer: Trainer, accelerator: Any) -> dict[str, Any]:
    progress, settings = trainer.progress, prepared.settings
    seen = min(progress.step * settings.batch, len(prepared.train) * settings.epochs)
    return {
        **asdict(settings),
        "alpha": settings.rank * settings.scale,
        "targets": list(targets_of(prepared.base.model_type, settings.targets)),
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "steps": progress.step,
        "steps_planned": trainer.steps,
        "best_step": progress.best_step if settings.patience is not None else progress.step,
        "seconds": progress.seconds,
        "pairs_per_s": seen / progress.seconds,
        "pairs_per_cpu_s": seen / (progress.cpu_seconds * accelerator.num_processes),
    }


def history(progress: Progress) -> dict[str, Any]:
    """The training loss as means over at most thirty intervals, and the evaluations."""
    width = max(1, math.ceil(len(progress.losses) / _POINTS))
    starts = range(0, len(progress.losses), width)
    return {
        "loss": [
            [min(at + width, progress.step), float(np.mean(progress.losses[at : at + width]))]
            for at in starts
        ],
        "held_out": [
            {"step": step, "accuracy": accuracy, "log_loss": log_loss}
            for step, accuracy, log_loss in progress.evaluations
        ],
    }


def _caveats(settings: LoraSettings) -> list[str]:
    if settings.patience is None:
        return []
    return ["the held-out part also chose when to stop, so LoRA's figures are slightly optimistic"]
