"""One periodic training: from the pairs received to the files of an adapter and their evaluation.

A function of its arguments only: no broker, no clock, no store.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from typing import Any, Literal

import numpy as np
import orjson
import torch

from streams.errors import BadInput
from streams.messages.contracts import TRUSTED_SOURCES, GateState
from trainers.lora.adapter import (
    CONFIG,
    LORA,
    REWARD,
    SCHEMA,
    UNCERTAINTY,
    VARIANCES,
    WEIGHTS,
    Adapter,
    config_file,
    weights_file,
)
from trainers.lora.baselines import Array, baselines
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.inbox import Arrived, Offsets
from trainers.lora.job import adapter_of, base_of, fit, history, pairs_of
from trainers.lora.low_rank import adapter_tensors, put_adapter
from trainers.lora.model import HEAD, Built
from trainers.lora.model_card import model_card
from trainers.lora.prepare import PACKAGES, Prepared, prepare_parts
from trainers.lora.processes import join_processes
from trainers.lora.promotion import IN_FORCE, judge, withdrawn
from trainers.lora.scorer import AdapterScorer
from trainers.lora.scoring import score_with_features
from trainers.lora.settings import LoraSettings
from trainers.lora.texts import Selected, TextPair, is_held_out
from trainers.lora.training import Trainer, TrainingStep
from trainers.lora.uncertainty import MOST_PAIRS, head_variances

Start = Literal["warm", "afresh"]
Baselines = Callable[[Sequence[TextPair], Sequence[TextPair]], Mapping[str, Array]]
"""Maps training and held-out pairs to P(chosen ≻ rejected) (n,) of the held-out ones, by model name."""


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """What determines a training besides its pairs."""

    base: str
    """Name or folder of the base model."""
    settings: LoraSettings = field(default_factory=LoraSettings)
    start: Start = "warm"
    """``warm``: from the earlier adapter, with the new and some old pairs. ``afresh``: with all pairs."""
    replay: float = 0.5
    """Fraction of old pairs in a warm training."""
    most_pairs: int = 4000
    """Limit on the newest pairs that are used at all, held-out ones included."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The pairs of one training."""

    train: tuple[TextPair, ...]
    held_out: tuple[TextPair, ...]
    known: tuple[TextPair, ...]
    """All pairs available for learning; the text baselines use them."""
    n_new: int
    """New pairs in the training part."""


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter's files, and its entries in a snapshot."""

    files: dict[str, bytes]
    gate: GateState
    statement: str
    base_model: dict[str, Any]
    labels: dict[str, int]
    metrics: dict[str, Any]
    keeps_in_force: bool
    """The adapter in force stays, because this one does not replace it and nothing else is better."""


def parts_of(pairs: Sequence[Arrived], stamp: Offsets, recipe: TrainingRecipe, *, warm: bool) -> Parts:
    """Choose from the pairs in the order of the log; those from ``stamp`` on are new.

    Raises BadInput if there is nothing to learn from or nothing to measure on.
    """
    known = [one for one in pairs if not is_held_out(one.pair.task)]
    held_out = tuple(one.pair for one in pairs if is_held_out(one.pair.task))
    if not known or not held_out:
        raise BadInput(
            f"pairs to learn from: {len(known)}, to measure on: {len(held_out)}; "
            "expected one of each: a fifth of all tasks is kept apart"
        )
    new = [one for one in known if one.is_new(stamp)]
    chosen = known
    if warm and new:
        old = [one for one in known if not one.is_new(stamp)]
        n = min(len(old), round(len(new) * recipe.replay / (1.0 - recipe.replay)))
        rng = np.random.default_rng([recipe.settings.seed, len(old), len(new)])
        chosen = [old[at] for at in sorted(rng.permutation(len(old))[:n])] + new
    return Parts(tuple(one.pair for one in chosen), held_out, tuple(one.pair for one in known), len(new))


def train_round(
    parts: Parts,
    recipe: TrainingRecipe,
    checkpoint: TrainingCheckpoint,
    *,
    model: str = "default",
    version: int = 1,
    start: Adapter | None = None,
    in_force: Adapter | None = None,
    baselines: Baselines = baselines,
    on_step: Callable[[TrainingStep], None] = lambda step: None,
) -> Trained:
    """Train, measure on the held-out pairs, make the files. Resumes from a checkpoint of the same training.

    ``start`` is the initial adapter, which must have the same base, shape and length; without one the weights
    start at random. ``in_force`` and ``baselines`` are what it has to beat. Raises BadInput.
    """
    selected = Selected(
        (*parts.train, *parts.held_out),
        tuple(sorted(TRUSTED_SOURCES)),
        "label sources human, outcome: the trusted ones",
        n_others=0,
        n_empty=0,
        n_equal=0,
        n_ties=0,
    )
    prepared = prepare_parts(selected, parts.train, parts.held_out, recipe.base, recipe.settings)
    settings = prepared.settings
    accelerator = join_processes("cpu", (), checkpoint.out)
    plan = prepared.plan(1, "cpu") | {"starts from": start.reward.adapter.sha256 if start else ""}
    if not _is_of(checkpoint, plan):
        checkpoint.remove()
    peft, built, trainer = fit(
        prepared, checkpoint, accelerator, on_step, plan, start.tensors if start else None
    )
    weights = weights_file(adapter_tensors(peft))
    uncertainty = weights_file({VARIANCES: torch.from_numpy(_variances(peft, built, prepared)).float()})
    predictions = {LORA: trainer.predictions("cpu"), **baselines(parts.known, parts.held_out)}
    if in_force is not None:
        predictions[IN_FORCE] = _predictions_of(in_force, prepared, peft, built, trainer)
    verdict = judge(version, predictions, [pair.task for pair in parts.held_out], settings.seed)
    keeps, statement = False, verdict.statement
    if in_force is not None and verdict.gate == "shadow":
        tasks = [pair.task for pair in parts.held_out]
        better = withdrawn(predictions, tasks, settings.seed)
        keeps = better is None
        kept = f"Version {in_force.reward.version}"
        statement += (
            f" {kept} stays in force."
            if keeps
            else f" {kept} is withdrawn, as {better} is shown to be better."
        )
    metrics = verdict.metrics | {"statement": statement, "start": "warm" if start else "afresh"}
    metrics |= {"train_pairs": len(parts.train), "new_train_pairs": parts.n_new}
    reward = {
        "schema": SCHEMA,
        "kind": "lora",
        "model": model,
        "version": version,
        "gate": verdict.gate,
        "pooling": settings.pooling,
        "length": settings.length,
        "scale": settings.scale,
        "base_model": base_of(prepared),
        "adapter": adapter_of(peft, weights),
        "uncertainty": {"file": UNCERTAINTY, **_stated(uncertainty)},
        "pairs": pairs_of(prepared),
        "metrics": metrics,
        "history": history(trainer.progress),
        "versions": {package: package_version(package) for package in PACKAGES},
        "plan": plan,
    }
    files = {
        WEIGHTS: weights,
        CONFIG: config_file(peft.peft_config["default"], prepared.base.name),
        UNCERTAINTY: uncertainty,
        "README.md": model_card(reward, prepared.notes(), built.pad_id).encode(),
        REWARD: orjson.dumps(reward, option=orjson.OPT_INDENT_2) + b"\n",
    }
    return Trained(
        files=files,
        gate=verdict.gate,
        statement=statement,
        base_model=base_of(prepared),
        labels=dict(sorted(Counter(pair.source for pair in parts.train).items())),
        metrics=metrics,
        keeps_in_force=keeps,
    )


def _is_of(checkpoint: TrainingCheckpoint, plan: Mapping[str, Any]) -> bool:
    try:
        checkpoint.check(plan, resume=True)
    except BadInput:
        return False
    return True


def _variances(peft: Any, built: Built, prepared: Prepared) -> Array:
    """Variances of the head's weights, from the newest training pairs."""
    pairs = prepared.encoded_train
    chosen, rejected = pairs.chosen[-MOST_PAIRS:], pairs.rejected[-MOST_PAIRS:]
    rewards_2N, features_2NH = score_with_features(peft, built, [*chosen, *rejected])
    n = len(chosen)
    (head_H,) = (t[0] for key, t in adapter_tensors(peft).items() if key.endswith(f".{HEAD}.weight"))
    return head_variances(
        head_H.detach().double().numpy(),
        features_2NH[:n] - features_2NH[n:],
        rewards_2N[:n] - rewards_2N[n:],
        pairs.weights[-MOST_PAIRS:],
        len(pairs.chosen),
    )


def _predictions_of(adapter: Adapter, prepared: Prepared, peft: Any, built: Built, trainer: Trainer) -> Array:
    """Predictions of another adapter, on the given model if it fits, which then holds that adapter."""
    settings, stated = prepared.settings, adapter.reward
    same = (stated.base_model.sha256, stated.base_model.tokenizer_sha256) == (
        prepared.base_sha256,
        prepared.tokenizer_sha256,
    )
    recipe = (stated.pooling, stated.length, stated.scale)
    if same and recipe == (settings.pooling, settings.length, settings.scale):
        with suppress(BadInput):
            put_adapter(peft, adapter.tensors)
            return trainer.predictions_now("cpu")
    reward = AdapterScorer(adapter, base=prepared.base.name if same else None)
    goals, chosen, rejected = zip(*((p.goal, p.chosen, p.rejected) for p in prepared.held_out), strict=True)
    return reward.prob_prefer(goals, chosen, rejected)


def _stated(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
