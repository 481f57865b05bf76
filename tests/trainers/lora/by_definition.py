"""The ``candidate`` pooling as it is defined, one text at a time, by Transformers' own attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainers.lora.architectures import CAUSAL
from trainers.lora.tokens import Encoded


def candidate_mean(mean_reward: Any, one: Encoded, *, takes_type_ids: bool) -> Tensor:
    """Of the last layer (H,); a mask says who sees whom."""
    n, goal = len(one.ids), one.goal_tokens
    sees = torch.ones(n, n, dtype=torch.bool)
    sees[:goal, goal:] = False
    if mean_reward.config.model_type in CAUSAL:
        sees = sees.tril()
    mean_reward.config._attn_implementation = "eager"
    given = {"input_ids": torch.tensor([one.ids])}
    if takes_type_ids:
        given["token_type_ids"] = torch.tensor([one.type_ids])
    mask = torch.zeros(1, 1, n, n).masked_fill(~sees, torch.finfo(torch.float32).min)
    hidden_TH: Tensor = mean_reward.encoder(attention_mask=mask, **given)[0][0]
    return hidden_TH[goal:].mean(dim=0)
