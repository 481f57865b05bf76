"""Texts one behind the other in one row, so that no layer of a training step works on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from trainers.lora.kernels import attend
from trainers.lora.model import Built, MeanReward, rewards
from trainers.lora.tokens import Encoded

_NAME = "tribrain_packed"
_CAUSAL = ("llama", "qwen2")
_ENCODERS = ("bert", "distilbert", "roberta")
"""Others have an attention of their own kind (DeBERTa v2) or look at a window of the text (ModernBERT)."""


def step_rewards(model: Any, built: Built, encoded: Sequence[Encoded], device: str = "cpu") -> Tensor:
    """``rewards_N`` (fp32) with gradients, as ``rewards`` but for rounding; without padding if possible."""
    mean_reward = model.get_base_model()
    if device != "cpu" or not packs(mean_reward):
        return rewards(model, built, encoded, device)
    lengths = [len(one.ids) for one in encoded]
    ids_N = torch.tensor([token for one in encoded for token in one.ids])
    first = built.pad_id + 1 if mean_reward.config.model_type == "roberta" else 0
    positions_N = torch.from_numpy(np.concatenate([np.arange(first, first + n) for n in lengths]))
    given = {"input_ids": ids_N, "position_ids": positions_N}
    if built.takes_type_ids:
        given["token_type_ids"] = torch.tensor([kind for one in encoded for kind in one.type_ids])
    with _attention(mean_reward.config):
        row = {name: tensor.unsqueeze(0) for name, tensor in given.items()}
        hidden_NH = mean_reward.encoder(**row, text_lengths=lengths)[0].squeeze(0)
    means_NH = torch.stack([text.mean(dim=0) for text in hidden_NH.split(lengths)])
    rewards_N: Tensor = mean_reward.score(means_NH).squeeze(-1).float()
    return rewards_N


def packs(model: Any) -> bool:
    """Whether texts of the model can stand in one row without seeing each other."""
    if not isinstance(model, MeanReward) or model.config.model_type not in _ENCODERS + _CAUSAL:
        return False
    return "sliding_attention" not in (getattr(model.config, "layer_types", None) or [])


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    text_lengths: Sequence[int],
    **_: object,
) -> tuple[Tensor, None]:
    causal = module.config.model_type in _CAUSAL
    return attend(query, key, value, text_lengths, scaling, causal), None


def _no_mask(*_: object, **__: object) -> None:
    return None


@contextmanager
def _attention(config: Any) -> Iterator[None]:
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, _no_mask)
