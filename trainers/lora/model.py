"""The reward model: a frozen base, a head, and the pairwise loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from streams.errors import BadInput
from trainers.lora.architectures import load_config, model_class
from trainers.lora.base_model import BaseModel
from trainers.lora.settings import Pooling
from trainers.lora.tokens import Encoded, padded

HEAD = "score"


class MeanReward(nn.Module):
    """Mean of the last layer over all tokens, then one linear layer.

    It has no bias, because a constant cancels in every comparison.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.config = encoder.config
        self.encoder = encoder
        self.score = nn.Linear(encoder.config.hidden_size, 1, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        """``input_ids_NT`` and ``attention_mask_NT`` to ``rewards_N1``."""
        hidden_NTH = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)[0]
        mask_NT1 = attention_mask.unsqueeze(-1).to(hidden_NTH.dtype)
        mean_NH = (hidden_NTH * mask_NT1).sum(dim=1) / mask_NT1.sum(dim=1)
        rewards_N1: Tensor = self.score(mean_NH)
        return rewards_N1


@dataclass(frozen=True, slots=True)
class Built:
    """A model with its base weights, without an adapter yet."""

    model: Any
    pooling: Pooling
    pad_id: int
    takes_type_ids: bool
    fresh: tuple[str, ...]
    """Modules that are missing in the base's file; they start at random and belong to the adapter."""
    layers_name: str
    n_layers: int

    @property
    def native(self) -> bool:
        return self.pooling == "native"


def build(base: BaseModel, pooling: Pooling, seed: int) -> Built:
    """Load the base in fp32 and put the head on it; ``seed`` determines the random weights.

    Raises BadInput if the files are not such a model.
    """
    native = pooling == "native"
    torch.manual_seed(seed)
    config = load_config(str(base.folder), base.model_type)
    options: dict[str, Any] = {}
    if native:
        config.num_labels = 1
    elif base.model_type in ("bert", "roberta"):
        options["add_pooling_layer"] = False
    model, missing = _load(base, model_class(base.model_type, native=native), config, options)
    layers_name, n_layers = _layers(model, base)
    if lacking := [key for key in missing if f".{layers_name}." in f".{key}" or not native]:
        raise BadInput(
            f"{base.folder}: the weights lack {lacking[0]} and {len(lacking) - 1} more; "
            "expected those of a complete model"
        )
    prefix = getattr(model, "base_model_prefix", "") + "."
    fresh = tuple(sorted({key.removeprefix(prefix).split(".")[0] for key in missing}))
    if not native:
        torch.manual_seed(seed)
        model, fresh = MeanReward(model), (HEAD,)
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    takes_type_ids = base.model_type in ("bert", "deberta-v2") and getattr(config, "type_vocab_size", 0) > 1
    return Built(
        model.eval(), pooling, int(config.pad_token_id), takes_type_ids, fresh, layers_name, n_layers
    )


def padded_rewards(model: Any, built: Built, encoded: Sequence[Encoded], device: str = "cpu") -> Tensor:
    """``rewards_N`` (fp32), with or without gradients as currently set; not for the ``candidate`` pooling."""
    ids_NT, mask_NT, types_NT = padded(encoded, built.pad_id)
    given = {"input_ids": ids_NT, "attention_mask": mask_NT}
    if built.takes_type_ids:
        given["token_type_ids"] = types_NT
    out = model(**{name: torch.from_numpy(array).to(device) for name, array in given.items()})
    rewards_N1: Tensor = out.logits if built.native else out
    return rewards_N1.squeeze(-1).float()


def pairwise_loss(rewards_2B: Tensor, weights_B: Tensor) -> Tensor:
    """Weighted sum of −log σ(r(chosen) − r(rejected)); the first half are the chosen (Ouyang et al. 2022)."""
    chosen_B, rejected_B = rewards_2B.chunk(2)
    return -(nn.functional.logsigmoid(chosen_B - rejected_B) * weights_B).sum()


def _load(base: BaseModel, cls: Any, config: Any, options: dict[str, Any]) -> tuple[Any, list[str]]:
    """The model, and the keys missing in its file."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # missing and extra keys are checked here
    try:
        model, found = cls.from_pretrained(
            base.folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # damaged files raise many kinds
        raise BadInput(
            f"{base.folder}: cannot be loaded as a {base.model_type} ({type(error).__name__}: {error}); "
            "expected the folder of a pretrained model"
        ) from None
    finally:
        logging.set_verbosity(before)
    return model, sorted(found["missing_keys"])


def _layers(model: Any, base: BaseModel) -> tuple[str, int]:
    """Attribute name of the list of blocks, and the number of blocks."""
    wanted = getattr(model.config, "num_hidden_layers", None)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return name.rpartition(".")[2], len(module)
    raise BadInput(f"{base.folder}: a {base.model_type} has no list of {wanted} layers that could be adapted")
