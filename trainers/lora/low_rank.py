"""Adapter tensors on a base model: PEFT for training, and the same arithmetic without it for scoring.

PEFT takes a second to import and 88 ms to swap an adapter; a running loop can afford neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from streams.errors import BadInput
from trainers.lora.kernels import Adapted, is_plain
from trainers.lora.model import Built

_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"


class LowRank(nn.Module):
    """W x + scale · B (A x) (Hu et al. 2021), by ``kernels`` or in PEFT's order of operations."""

    def __init__(self, linear: Any, a: Tensor, b: Tensor, scale: float, *, as_peft: bool) -> None:
        super().__init__()
        self.linear, self.scale, self.as_peft = linear, scale, as_peft
        self.a, self.b = nn.Parameter(a, requires_grad=False), nn.Parameter(b, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if is_plain(x) and not self.as_peft:
            out: Tensor = Adapted.apply(x, self.linear.weight, self.linear.bias, self.a, self.b, self.scale)
            return out
        low = nn.functional.linear(nn.functional.linear(x, self.a), self.b)
        return self.linear(x) + low * self.scale


def with_peft(built: Built, *, rank: int, alpha: float, targets: tuple[str, ...], layers: list[int]) -> Any:
    """A PEFT model whose only trainable weights are the adapter's and the head's.

    Raises BadInput if no layer has the name of one of the targets.
    """
    from peft import LoraConfig, get_peft_model

    names = [name for name, module in built.model.named_modules() if isinstance(module, nn.Linear)]
    inside = [name for name in names if f".{built.layers_name}." in f".{name}"]
    for target in targets:
        if not any(name.endswith(f".{target}") for name in inside):
            found = ", ".join(sorted({name.rpartition(".")[2] for name in inside}))
            raise BadInput(f"no linear layer of the base model is called {target!r}; it has {found}")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=list(targets),
        layers_to_transform=layers,
        layers_pattern=built.layers_name,
        modules_to_save=list(built.fresh),
        task_type="SEQ_CLS" if built.native else None,
    )
    model = get_peft_model(built.model, config)
    for name, parameter in model.named_parameters():
        # A bias cancels in every comparison; its gradient is rounding noise, which AdamW would amplify.
        if parameter.requires_grad and name.endswith(".bias") and parameter.numel() == 1:
            parameter.requires_grad_(False)
    _by_kernels(model, built.native)
    return model


def _by_kernels(model: Any, native: bool) -> None:
    """Makes the adapted layers of a PEFT model compute with ``kernels``.

    A head that Transformers can load is evaluated as it is used there: in PEFT's order.
    """
    from peft.tuners.lora import Linear

    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = partial(_adapted, module, module.forward, native)


def _adapted(module: Any, by_peft: Callable[[Tensor], Tensor], native: bool, x: Tensor) -> Tensor:
    if not is_plain(x) or (native and not torch.is_grad_enabled()):
        return by_peft(x)
    (name,) = module.active_adapters
    base, a, b = module.base_layer, module.lora_A[name].weight, module.lora_B[name].weight
    out: Tensor = Adapted.apply(x, base.weight, base.bias, a, b, module.scaling[name])
    return out


def adapter_tensors(model: Any) -> dict[str, Tensor]:
    """Maps keys of an adapter's file to the model's own tensors, sorted by key."""
    from peft import get_peft_model_state_dict

    return dict(sorted(get_peft_model_state_dict(model, save_embedding_layers=False).items()))


def put_adapter(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Copy these tensors' values into a PEFT model. Raises BadInput if their shapes differ."""
    slots = adapter_tensors(model)
    if {key: slot.shape for key, slot in slots.items()} != {key: t.shape for key, t in tensors.items()}:
        raise BadInput("the adapter to start from has another shape; train afresh")
    with torch.no_grad():
        for key, slot in slots.items():
            slot.copy_(tensors[key])


def attach(built: Built, tensors: Mapping[str, Tensor], scale: float, source: str) -> dict[str, Tensor]:
    """Put an adapter on the model without PEFT. Returns the tensors that the model now uses, by key.

    Raises BadInput if it is an adapter for another model.
    """
    model, slots = built.model, {}
    for key, tensor in tensors.items():
        path = key.removeprefix(_PREFIX)
        if key == path:
            raise BadInput(f"{source}: {key} is not a tensor of a PEFT adapter")
        if path.endswith(_B):
            continue
        module_path = path.removesuffix(_A) if path.endswith(_A) else path.rpartition(".")[0]
        try:
            module = model.get_submodule(module_path)
        except AttributeError:
            raise BadInput(f"{source}: is for another base model, as this one has no {module_path}") from None
        if path.endswith(_A):
            other = tensors.get(key.removesuffix(_A) + _B)
            _check_low_rank(module, tensor, other, f"{source}: {key}")
            assert other is not None
            low_rank = LowRank(module, tensor.clone(), other.clone(), scale, as_peft=built.native)
            parent, _, name = module_path.rpartition(".")
            setattr(model.get_submodule(parent), name, low_rank)
            slots[key], slots[key.removesuffix(_A) + _B] = low_rank.a, low_rank.b
        else:
            parameter = getattr(module, path.rpartition(".")[2], None)
            if parameter is None or parameter.shape != tensor.shape:
                raise BadInput(f"{source}: is for another base model, as {path} does not fit")
            with torch.no_grad():
                parameter.copy_(tensor)
            slots[key] = parameter
    lacking = [name for name in built.fresh if not any(f".{name}." in key for key in slots)]
    if lacking:
        raise BadInput(f"{source}: lacks the head {lacking[0]!r}; train it again")
    return slots


def _check_low_rank(module: Any, a: Tensor, b: Tensor | None, source: str) -> None:
    fits = (
        isinstance(module, nn.Linear)
        and b is not None
        and a.shape[1:] == (module.in_features,)
        and b.shape == (module.out_features, a.shape[0])
    )
    if not fits:
        raise BadInput(f"{source}: is for another base model, as its shape does not fit")
