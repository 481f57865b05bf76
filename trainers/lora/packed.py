"""Texts one behind the other in one row, so that no layer works on padding, nor twice on the same goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainers.lora.architectures import CAUSAL
from trainers.lora.kernels import Look, attend
from trainers.lora.model import Built
from trainers.lora.tokens import Encoded

_NAME = "tribrain_packed"
_LONGEST = 1024
"""Tokens of a goal with its candidates, as attention costs their square; a goal with more is read again."""


@dataclass(slots=True)
class Row:
    """Tokens of all texts, and what each of them sees."""

    ids: list[int] = field(default_factory=list)
    type_ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Within its own text."""
    looks: list[Look] = field(default_factory=list)
    averaged: dict[int, slice] = field(default_factory=dict)
    """By a text's place: the tokens whose mean goes into the head."""

    def add(self, one: Encoded, begin: int, end: int) -> slice:
        """Append a part of a text's tokens; where they are in the row."""
        start = len(self.ids)
        self.ids += one.ids[begin:end]
        self.type_ids += one.type_ids[begin:end]
        self.positions += range(begin, end)
        return slice(start, len(self.ids))


def packed_rewards(model: Any, built: Built, encoded: Sequence[Encoded], device: str = "cpu") -> Tensor:
    """``rewards_N`` (fp32), with whatever gradients are on."""
    mean_reward = model.get_base_model() if hasattr(model, "get_base_model") else model
    model_type = mean_reward.config.model_type
    lay_out = goals_once if built.pooling == "candidate" else one_by_one
    row = lay_out(encoded, causal=model_type in CAUSAL)
    first = built.pad_id + 1 if model_type == "roberta" else 0
    given = {"input_ids": row.ids, "position_ids": [first + position for position in row.positions]}
    if built.takes_type_ids:
        given["token_type_ids"] = row.type_ids
    with _attention(mean_reward.config):
        tensors = {name: torch.tensor([values], device=device) for name, values in given.items()}
        hidden_LH = mean_reward.encoder(**tensors, looks=row.looks)[0].squeeze(0)
    means_NH = torch.stack([hidden_LH[row.averaged[place]].mean(dim=0) for place in range(len(encoded))])
    rewards_N: Tensor = mean_reward.score(means_NH).squeeze(-1).float()
    return rewards_N


def one_by_one(encoded: Sequence[Encoded], *, causal: bool) -> Row:
    """Each text sees all of itself, and all of it is averaged."""
    row = Row()
    for place, one in enumerate(encoded):
        whole = row.averaged[place] = row.add(one, 0, len(one.ids))
        row.looks.append(Look(whole, whole, causal))
    return row


def goals_once(encoded: Sequence[Encoded], *, causal: bool) -> Row:
    """A goal sees itself, and each of its candidates sees it and itself and alone is averaged.

    So nothing of a candidate depends on the others, and the goal's tokens serve all of them.
    """
    row = Row()
    for places in _groups(encoded):
        first = encoded[places[0]]
        goal = row.add(first, 0, first.goal_tokens)
        candidates = [row.add(encoded[at], first.goal_tokens, len(encoded[at].ids)) for at in places]
        row.averaged |= zip(places, candidates, strict=True)
        row.looks += _looks(goal, candidates, causal)
    return row


def _groups(encoded: Sequence[Encoded]) -> list[list[int]]:
    """Places of the texts that have a goal in common, and together not too many tokens."""
    groups: list[list[int]] = []
    open_ones: dict[object, tuple[list[int], int]] = {}
    for place, one in enumerate(encoded):
        group, length = open_ones.get(one.goal, ([], one.goal_tokens))
        if group and length + one.candidate_tokens > _LONGEST:
            group, length = [], one.goal_tokens
        if not group:
            groups.append(group)
        group.append(place)
        open_ones[one.goal] = group, length + one.candidate_tokens
    return groups


def _looks(goal: slice, candidates: Sequence[slice], causal: bool) -> list[Look]:
    begin, end = goal.start, candidates[-1].stop
    if causal and len(candidates) == 1:
        return [Look(slice(begin, end), slice(begin, end), causal=True)]
    looks = [Look(goal, goal, causal)] if goal.stop > begin else []
    mask_QK = None
    if len(candidates) > 1:
        mask_QK = torch.full((end - goal.stop, end - begin), -torch.inf)
        mask_QK[:, : goal.stop - begin] = 0.0
        for one in candidates:
            sees_itself = torch.zeros(one.stop - one.start, one.stop - one.start)
            if causal:
                sees_itself = torch.full_like(sees_itself, -torch.inf).triu(1)
            mask_QK[one.start - goal.stop : one.stop - goal.stop, one.start - begin : one.stop - begin] = (
                sees_itself
            )
    return [*looks, Look(slice(goal.stop, end), slice(begin, end), mask_QK=mask_QK)]


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    looks: Sequence[Look],
    **_: object,
) -> tuple[Tensor, None]:
    return attend(query, key, value, looks, scaling), None


def _no_mask(*_: object, **__: object) -> None:
    return None


@contextmanager
def _attention(config: Any) -> Iterator[None]:
    # Not at the top: who loads a model to score with it does so without much of Transformers.
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, _no_mask)
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
