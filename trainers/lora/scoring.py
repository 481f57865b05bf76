"""Rewards of many texts: in batches, and in the fastest way that the pooling allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainers.lora.architectures import is_plain_attention
from trainers.lora.batches import filled
from trainers.lora.model import HEAD, Built, padded_rewards
from trainers.lora.packed import packed_rewards
from trainers.lora.tokens import Encoded

Array = NDArray[np.float64]

_PADDED_BATCH = 64
"""Texts in a batch with padding."""
_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Attention backends on a GPU. cuDNN's is left out: it takes seconds to prepare for each new length, and
lengths vary all the time."""


def rewards(model: Any, built: Built, encoded: Sequence[Encoded], device: str = "cpu") -> Tensor:
    """``rewards_N`` (fp32) of one batch, with or without gradients as currently set."""
    with sdpa_kernel(_ATTENTION) if torch.device(device).type == "cuda" else nullcontext():
        if packs(built, device):
            return packed_rewards(model, built, encoded, device)
        return padded_rewards(model, built, encoded, device)


def packs(built: Built, device: str) -> bool:
    """Whether texts are packed into one row, rather than padded, one row each.

    A GPU is faster with padded rows, so there only texts that share a goal are packed.
    """
    if built.pooling == "candidate":
        return True
    plain = is_plain_attention(built.model.config.to_dict())
    return built.pooling == "mean" and plain and torch.device(device).type == "cpu"


def score(model: Any, built: Built, encoded: Sequence[Encoded], device: str = "cpu") -> Array:
    """``rewards_N`` in the order given; the same texts in one call give the same bits."""
    rewards_N = np.zeros(len(encoded))
    with torch.inference_mode():
        for rows in _batches(built, encoded, device):
            rewards_N[rows] = rewards(model, built, [encoded[row] for row in rows], device).cpu().numpy()
    return rewards_N


def score_with_features(
    model: Any, built: Built, encoded: Sequence[Encoded], device: str = "cpu"
) -> tuple[Array, Array]:
    """``rewards_N`` as from ``score``, and ``features_NH``; their product with the head is the reward.

    Works only if the head is one linear layer, so not with the ``native`` pooling.
    """
    with _features_kept(built) as kept:
        rewards_N = score(model, built, encoded, device)
    features_NH = np.concatenate(kept)
    features_NH[np.concatenate(_batches(built, encoded, device))] = features_NH.copy()
    return rewards_N, features_NH


@contextmanager
def _features_kept(built: Built) -> Iterator[list[Array]]:
    """Collects the head's inputs, ``features_BH`` of each batch, in the order of scoring."""
    kept: list[Array] = []

    def keep(_: Any, given: tuple[Tensor, ...]) -> None:
        kept.append(given[0].detach().cpu().double().numpy())

    hook = built.model.get_submodule(HEAD).register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        hook.remove()


def _batches(built: Built, encoded: Sequence[Encoded], device: str) -> list[list[int]]:
    """Indices of the texts, each once: grouped by length if they are padded, else by goal."""
    if not packs(built, device):
        order = sorted(range(len(encoded)), key=lambda place: -len(encoded[place].ids))
        return [order[at : at + _PADDED_BATCH] for at in range(0, len(order), _PADDED_BATCH)]
    if built.pooling == "mean":
        return list(filled(range(len(encoded)), [len(one.ids) for one in encoded]))
    of_goal: dict[object, list[int]] = {}
    for place, one in enumerate(encoded):
        of_goal.setdefault(one.goal, []).append(place)
    tokens = [one.candidate_tokens for one in encoded]
    for places in of_goal.values():
        tokens[places[0]] += encoded[places[0]].goal_tokens
    return list(filled((place for places in of_goal.values() for place in places), tokens))
