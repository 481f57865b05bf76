"""What differs between architectures: the classes to load, and the layers that LoRA adapts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from streams.errors import BadInput


@dataclass(frozen=True, slots=True)
class Architecture:
    module: str
    """Transformers' package of the model."""
    prefix: str
    """Prefix of its class names."""
    targets: tuple[str, ...]
    """All linear layers of a block."""


_DECODER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": Architecture("bert", "Bert", ("query", "key", "value", "dense")),
    "distilbert": Architecture(
        "distilbert", "DistilBert", ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2")
    ),
    "roberta": Architecture("roberta", "Roberta", ("query", "key", "value", "dense")),
    "deberta-v2": Architecture("deberta_v2", "DebertaV2", ("query_proj", "key_proj", "value_proj", "dense")),
    "modernbert": Architecture("modernbert", "ModernBert", ("Wqkv", "Wo", "Wi")),
    "qwen2": Architecture("qwen2", "Qwen2", _DECODER),
    "llama": Architecture("llama", "Llama", _DECODER),
}


CAUSAL = ("qwen2", "llama")
"""Architectures with causal attention."""
_PLAIN = ("bert", "distilbert", "roberta", *CAUSAL)
"""Architectures with full attention. Others have special attention (DeBERTa v2) or windows (ModernBERT)."""

KEYS_AND_VALUES = {"bert": ("key", "value"), "roberta": ("key", "value"), "distilbert": ("k_lin", "v_lin")}
"""Linear layers that compute queries, keys and values; other architectures also rotate them by position."""


def is_plain_attention(config: Mapping[str, Any]) -> bool:
    """Whether a model of this configuration supports any attention mask between tokens."""
    windows = "sliding_attention" in (config.get("layer_types") or ())
    return config.get("model_type") in _PLAIN and not windows


def targets_of(model_type: str, given: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the linear layers to adapt. Raises BadInput for an unknown architecture."""
    if given:
        return tuple(sorted(set(given)))
    if model_type not in ARCHITECTURES:
        raise BadInput(
            f"the base model is a {model_type!r}, whose linear layers are not known here (known: "
            f"{', '.join(ARCHITECTURES)}); name them with --targets, e.g. --targets q_proj,v_proj"
        )
    return ARCHITECTURES[model_type].targets


def model_class(model_type: str, *, native: bool) -> Any:
    """The class of the bare model, or with its own classification head (``native``).

    Imports a known class directly: Transformers' Auto classes know every model, which takes seconds longer.
    """
    known = ARCHITECTURES.get(model_type)
    if known is None:
        import transformers

        return transformers.AutoModelForSequenceClassification if native else transformers.AutoModel
    module = import_module(f"transformers.models.{known.module}.modeling_{known.module}")
    return getattr(module, known.prefix + ("ForSequenceClassification" if native else "Model"))


def load_config(folder: str, model_type: str) -> Any:
    """Transformers' configuration of a model, with every dropout at 0. Raises OSError or ValueError."""
    known = ARCHITECTURES.get(model_type)
    if known is None:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    else:
        module = import_module(f"transformers.models.{known.module}.configuration_{known.module}")
        config = getattr(module, f"{known.prefix}Config").from_pretrained(folder, local_files_only=True)
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, int | float):
            setattr(config, name, 0.0)
    if config.pad_token_id is None:
        end = config.eos_token_id
        config.pad_token_id = next(iter(end), 0) if isinstance(end, list | tuple) else end or 0
    return config
