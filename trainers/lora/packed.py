"""Packs texts into one row, so that no layer processes padding, or the same goal twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from trainers.lora.architectures import CAUSAL, KEYS_AND_VALUES
from trainers.lora.kernels import AttentionSpan, attend, has_quick_attention, merged
from trainers.lora.model import Built
from trainers.lora.tokens import Encoded

_NAME = "tribrain_packed"
_LONGEST = 1024
"""Maximum tokens of a goal with its candidates, as attention is quadratic; beyond it the goal is repeated."""


@dataclass(slots=True)
class PackedRow:
    """Tokens of all texts, and what each of them attends to."""

    ids: list[int] = field(default_factory=list)
    type_ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Positions within each token's own text."""
    looks: list[AttentionSpan] = field(default_factory=list)
    averaged: list[tuple[int | None, int]] = field(default_factory=list)
    """Consecutive segments: index of the text whose mean they belong to, and number of tokens."""
    groups: list[tuple[int, int]] = field(default_factory=list)
    """Number of tokens of each goal, and of all its candidates, which follow it."""
    looks_of_candidates: list[AttentionSpan] = field(default_factory=list)
    """The spans whose queries are candidates' tokens only; empty with causal attention."""

    def add(self, one: Encoded, begin: int, end: int, place: int | None) -> slice:
        """Append a part of a text's tokens. Returns their slice of the row."""
        start = len(self.ids)
        self.ids += one.ids[begin:end]
        self.type_ids += one.type_ids[begin:end]
        self.positions += range(begin, end)
        self.averaged.append((place, end - begin))
        return slice(start, len(self.ids))


def packed_rewards(model: Any, built: Built, encoded: Sequence[Encoded], device: str = "cpu") -> Tensor:
    """``rewards_N`` (fp32), with or without gradients as currently set."""
    mean_reward = model.get_base_model() if hasattr(model, "get_base_model") else model
    model_type = mean_reward.config.model_type
    lay_out = goals_once if built.pooling == "candidate" else one_by_one
    row = lay_out(encoded, causal=model_type in CAUSAL)
    if not has_quick_attention(device):
        row.looks, row.looks_of_candidates = (
            merged(looks, device) for looks in (row.looks, row.looks_of_candidates)
        )
    first = built.pad_id + 1 if model_type == "roberta" else 0
    given = {"input_ids": row.ids, "position_ids": [first + position for position in row.positions]}
    if built.takes_type_ids:
        given["token_type_ids"] = row.type_ids
    averaged = row.averaged
    with ExitStack() as stack:
        stack.enter_context(_attention(mean_reward.config))
        last = None
        if row.groups and model_type in KEYS_AND_VALUES:
            last = stack.enter_context(candidates_alone(_layers(mean_reward, built)[-1], row))
            averaged = [one for one in averaged if one[0] is not None]
        tensors = {name: torch.tensor([values], device=device) for name, values in given.items()}
        hidden_LH = mean_reward.encoder(**tensors, row=row, last=last)[0].squeeze(0)
    stretches = zip(averaged, hidden_LH.split([n for _, n in averaged]), strict=True)
    means = {place: tokens_TH.mean(dim=0) for (place, _), tokens_TH in stretches if place is not None}
    rewards_N: Tensor = mean_reward.score(torch.stack([means[at] for at in range(len(encoded))])).squeeze(-1)
    return rewards_N.float()


def one_by_one(encoded: Sequence[Encoded], *, causal: bool) -> PackedRow:
    """Each text attends to all of itself, and all of it is averaged."""
    row = PackedRow()
    for place, one in enumerate(encoded):
        whole = row.add(one, 0, len(one.ids), place)
        row.looks.append(AttentionSpan(whole, whole, causal))
    return row


def goals_once(encoded: Sequence[Encoded], *, causal: bool) -> PackedRow:
    """A goal attends to itself; each candidate attends to it and to itself, and only its tokens are averaged.

    So no candidate depends on the others, and the goal's tokens serve all of them.
    """
    row = PackedRow()
    for places in _groups(encoded):
        first = encoded[places[0]]
        goal = row.add(first, 0, first.goal_tokens, None)
        candidates = [row.add(encoded[at], first.goal_tokens, len(encoded[at].ids), at) for at in places]
        looks = _looks(goal, candidates, causal)
        row.looks += looks
        row.groups.append((first.goal_tokens, len(row.ids) - goal.stop))
        if not causal:
            before = sum(n for _, n in row.groups[:-1])
            queries = slice(before, before + row.groups[-1][1])
            row.looks_of_candidates.append(replace(looks[-1], queries=queries))
    return row


def _groups(encoded: Sequence[Encoded]) -> list[list[int]]:
    """Indices of texts that share a goal, in groups without too many tokens."""
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


def _looks(goal: slice, candidates: Sequence[slice], causal: bool) -> list[AttentionSpan]:
    begin, end = goal.start, candidates[-1].stop
    if causal and len(candidates) == 1:
        return [AttentionSpan(slice(begin, end), slice(begin, end), causal=True)]
    looks = [AttentionSpan(goal, goal, causal)] if goal.stop > begin else []
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
    return [*looks, AttentionSpan(slice(goal.stop, end), slice(begin, end), mask_QK=mask_QK)]


class _LastLayer:
    """The last layer for candidates only: of the goals' tokens it needs just keys and values."""

    def __init__(self, row: PackedRow) -> None:
        self._goals, self._candidates = (list(lengths) for lengths in zip(*row.groups, strict=True))
        self._looks = row.looks_of_candidates
        self._goals_1GH: Tensor | None = None

    def leave_goals_out(self, layer: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """A hook before the layer that passes on only the candidates' tokens."""
        hidden_1LH, *more = given
        lengths = [n for pair in zip(self._goals, self._candidates, strict=True) for n in pair]
        parts = hidden_1LH.split(lengths, dim=1)
        self._goals_1GH = torch.cat(parts[0::2], dim=1)
        return torch.cat(parts[1::2], dim=1), *more

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        assert self._goals_1GH is not None
        names = KEYS_AND_VALUES[module.config.model_type]
        seen = []
        for name, of_candidates in zip(names, (key, value), strict=True):
            flat = getattr(module, name)(self._goals_1GH)
            of_goals = flat.view(1, -1, of_candidates.shape[1], of_candidates.shape[3]).transpose(1, 2)
            parts = zip(of_goals.split(self._goals, 2), of_candidates.split(self._candidates, 2), strict=True)
            seen.append(torch.cat([part for pair in parts for part in pair], dim=2))
        keys, values = seen
        return attend(query, keys, values, self._looks, scaling)


@contextmanager
def candidates_alone(layer: Any, row: PackedRow) -> Iterator[_LastLayer]:
    last = _LastLayer(row)
    hook = layer.register_forward_pre_hook(last.leave_goals_out)
    try:
        yield last
    finally:
        hook.remove()


def _layers(mean_reward: Any, built: Built) -> Any:
    """The list of the model's layers."""
    return next(
        module
        for name, module in mean_reward.encoder.named_modules()
        if name.rpartition(".")[2] == built.layers_name and len(module) == built.n_layers
    )


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    row: PackedRow,
    last: _LastLayer | None,
    **_: object,
) -> tuple[Tensor, None]:
    if query.shape[2] == len(row.ids):
        return attend(query, key, value, row.looks, scaling), None
    assert last is not None
    return last.attend(module, query, key, value, scaling), None


def _no_mask(*_: object, **__: object) -> None:
    return None


@contextmanager
def _attention(config: Any) -> Iterator[None]:
    # Imported late: loading a model for scoring avoids most of Transformers.
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
