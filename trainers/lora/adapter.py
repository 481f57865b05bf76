"""The folder of a trained adapter: PEFT's two files, and ``reward.json``, which describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from streams.errors import BadInput
from streams.files import read_bytes
from trainers.lora.settings import Pooling

Array = NDArray[np.float64]

SCHEMA = "tribrain.text_reward/1"
WEIGHTS, CONFIG, REWARD = "adapter_model.safetensors", "adapter_config.json", "reward.json"
LORA = "LoRA"
"""The adapter's name among the models that it is compared with."""
UNCERTAINTY = "uncertainty.safetensors"
"""This file is not PEFT's, and PEFT ignores it."""
VARIANCES = "head.variances"


class _File(msgspec.Struct):
    sha256: str
    bytes: int


class _Base(msgspec.Struct):
    name: str
    model_type: str
    sha256: str
    tokenizer_sha256: str


class _Pairs(msgspec.Struct):
    train: int
    held_out: int


class _Figures(msgspec.Struct):
    log_loss: float


class _Metrics(msgspec.Struct):
    models: dict[str, _Figures] = {}


class RewardFile(msgspec.Struct):
    """The fields of ``reward.json`` needed for scoring; the others are for people."""

    schema: str
    model: str
    pooling: Pooling
    length: int
    scale: float
    base_model: _Base
    adapter: _File
    pairs: _Pairs
    metrics: _Metrics = msgspec.field(default_factory=_Metrics)
    uncertainty: _File | None = None
    plan: dict[str, Any] = {}
    """The training's plan."""
    version: int = 0
    """Number of the training, in a series of trainings."""


# Made here rather than on first use, which in msgspec is not thread-safe (see streams.messages.codec).
_REWARD = msgspec.json.Decoder(RewardFile)


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter read from a folder and checked against its ``reward.json``."""

    folder: Path
    reward: RewardFile
    tensors: Mapping[str, Tensor]
    variances_H: Array | None = None
    """Posterior variance of each of the head's weights, if it was computed."""


def is_adapter(path: Path) -> bool:
    return (path / REWARD).is_file()


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder. Raises BadInput if it has none, or none that matches ``reward.json``."""
    file = folder / REWARD
    try:
        reward = _REWARD.decode(read_bytes(file))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: the file is damaged: {error}; train the model again") from None
    if reward.schema != SCHEMA:
        raise BadInput(f"{file}: schema is {reward.schema!r}; this version reads {SCHEMA!r}")
    tensors = _tensors(folder / WEIGHTS, reward.adapter)
    if reward.uncertainty is None:
        return Adapter(folder, reward, tensors)
    file = folder / UNCERTAINTY
    variances = _tensors(file, reward.uncertainty).get(VARIANCES)
    if variances is None or variances.dim() != 1 or not bool((variances >= 0).all()):
        raise BadInput(f"{file}: has no variances of the head's weights; train the model again")
    return Adapter(folder, reward, tensors, variances.double().numpy())


def _tensors(file: Path, stated: _File) -> dict[str, Tensor]:
    content = read_bytes(file)
    if len(content) != stated.bytes:
        raise BadInput(
            f"{file}: has {len(content)} bytes, and {REWARD} says {stated.bytes}; "
            "the file is damaged: train the model again"
        )
    if hashlib.sha256(content).hexdigest() != stated.sha256:
        raise BadInput(
            f"{file}: the SHA-256 is not the one in {REWARD}; "
            "the file is damaged or was replaced: train the model again"
        )
    try:
        found: dict[str, Tensor] = load(content)
        return found
    except SafetensorError as error:
        raise BadInput(f"{file}: cannot be read: {error}; train the model again") from None


def weights_file(tensors: Mapping[str, Tensor]) -> bytes:
    """``adapter_model.safetensors`` as PEFT writes it, or other tensors in the same way."""
    found = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    content: bytes = save(found, {"format": "pt"})
    return content


def config_file(peft_config: Any, base_name: str) -> bytes:
    """``adapter_config.json`` as PEFT writes it, with sets in a fixed order."""
    config = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in peft_config.to_dict().items()
    }
    config |= {"base_model_name_or_path": base_name, "inference_mode": True}
    return orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS, default=str) + b"\n"
