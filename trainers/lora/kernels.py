"""The two operations that dominate a training step on a processor, without overhead.

They compute the same as PEFT and PyTorch, but add in another order. The attention kernel has a name that
PyTorch may change, so there is a public one to fall back on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class AttentionSpan:
    """Some tokens of a row, ``queries``, and the tokens that they attend to, ``keys``."""

    queries: slice
    keys: slice
    causal: bool = False
    """No query attends to a later token; ``queries`` and ``keys`` are then the same."""
    mask_QK: Tensor | None = None
    """0 where the row's token attends to the column's, else −inf; in merged spans, true and false."""


class Adapted(torch.autograd.Function):
    """(W + s · B A) x + b with W and b frozen: multiplying the weights costs a fiftieth of multiplying by x.

    PEFT adds s · B (A x) to W x, which reads and writes every output three more times.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        whole = torch.addmm(weight, b, a, alpha=scale)
        # Here, while x is in the processor's cache; it no longer is when the gradient comes.
        up_NR = x.reshape(-1, x.shape[-1]) @ a.t() if ctx.needs_input_grad[4] else None
        ctx.save_for_backward(x, whole, b, up_NR)
        ctx.scale = scale
        return nn.functional.linear(x, whole, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, whole, b, up_NR = ctx.saved_tensors
        grad_NO, x_NI = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        of_x = grad @ whole if ctx.needs_input_grad[0] else None
        down_NR = (grad_NO @ b).mul_(ctx.scale)
        return of_x, None, None, down_NR.t() @ x_NI, grad_NO.t() @ up_NR.mul(ctx.scale), None


class Attention(torch.autograd.Function):
    """Softmax attention within each of several spans; every token is a query exactly once.

    ``q_1HND``, ``k_1HND`` and ``v_1HND`` to ``out_1NHD``. Writes gradients in place: those of slices would be
    copied once more.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, looks: Sequence[AttentionSpan], scale: float
    ) -> Tensor:
        out = q.new_empty(q.shape[0], q.shape[2], q.shape[1], q.shape[3])
        sums = []
        for look in looks:
            given = q[:, :, look.queries], k[:, :, look.keys], v[:, :, look.keys]
            found, log_sum = _FORWARD(*given, 0.0, look.causal, attn_mask=look.mask_QK, scale=scale)
            out[:, look.queries] = found.transpose(1, 2)
            sums.append(log_sum)
        ctx.save_for_backward(q, k, v, out, *sums)
        ctx.options = looks, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, *sums = ctx.saved_tensors
        looks, scale = ctx.options
        of_q = torch.empty_like(out)
        of_k, of_v = (t.new_zeros(t.shape[0], t.shape[2], t.shape[1], t.shape[3]) for t in (k, v))
        for look, log_sum in zip(looks, sums, strict=True):
            asks, seen = look.queries, look.keys
            given = q[:, :, asks], k[:, :, seen], v[:, :, seen], out[:, asks].transpose(1, 2), log_sum
            options = {"attn_mask": look.mask_QK, "scale": scale}
            found = _BACKWARD(grad[:, asks].transpose(1, 2), *given, 0.0, look.causal, **options)
            by_token = [one.transpose(1, 2) for one in found]
            of_q[:, asks] = by_token[0]
            of_k[:, seen] += by_token[1]
            of_v[:, seen] += by_token[2]
        return *(t.transpose(1, 2) for t in (of_q, of_k, of_v)), None, None


def attend(q: Tensor, k: Tensor, v: Tensor, looks: Sequence[AttentionSpan], scale: float) -> Tensor:
    """Like ``Attention``; ``k`` and ``v`` may have fewer heads, each for several of ``q``.

    The queries of ``looks`` are in the order of the tokens. Merges the spans if the tensors are not plain.
    """
    if k.shape[1] != q.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
    if _FORWARD is not None and is_plain(q):
        out: Tensor = Attention.apply(q, k, v, looks, scale)
        return out
    found = []
    for look in looks:
        one = nn.functional.scaled_dot_product_attention(
            q[:, :, look.queries],
            k[:, :, look.keys],
            v[:, :, look.keys],
            attn_mask=look.mask_QK,
            is_causal=look.causal,
            scale=scale,
        )
        found.append(one.transpose(1, 2))
    return torch.cat(found, 1)


def merged(looks: Sequence[AttentionSpan], device: str) -> list[AttentionSpan]:
    """The same attention in fewer spans on ``device``, with boolean masks for any precision.

    Starting an operation costs a GPU more than most of the tokens that a mask then hides.
    """
    blocks: list[list[AttentionSpan]] = []
    for look in looks:
        if blocks and look.keys.stop - blocks[-1][0].keys.start <= _BLOCK:
            blocks[-1].append(look)
        else:
            blocks.append([look])
    return [_one(block, device) for block in blocks]


def _one(block: Sequence[AttentionSpan], device: str) -> AttentionSpan:
    if len(block) == 1 and block[0].mask_QK is None:
        return block[0]
    queries = slice(block[0].queries.start, block[-1].queries.stop)
    keys = slice(min(look.keys.start for look in block), max(look.keys.stop for look in block))
    mask_QK = torch.zeros(queries.stop - queries.start, keys.stop - keys.start, dtype=torch.bool)
    for look in block:
        seen_QK = mask_QK[_within(look.queries, queries), _within(look.keys, keys)]
        if look.mask_QK is None:
            seen_QK.fill_(True)
            if look.causal:
                seen_QK.tril_()
        else:
            seen_QK.copy_(look.mask_QK == 0)
    return AttentionSpan(queries, keys, mask_QK=mask_QK.to(device))


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def is_plain(x: Tensor) -> bool:
    """fp32 on a processor, without autocast."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def has_quick_attention(device: str) -> bool:
    """Whether ``attend`` takes spans unchanged, for a model in fp32; else they must be ``merged``."""
    return (
        _FORWARD is not None and torch.device(device).type == "cpu" and not torch.is_autocast_enabled("cpu")
    )


_BLOCK = 1024
"""Maximum number of keys in a merged span."""
_FORWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_BACKWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)
if _BACKWARD is None:
    _FORWARD = None
