"""Places of the Wan models' weights in WoW's repository, in its current and its first release."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.worlds.wow.names import ModelName
from runner.worlds.wow.needed import TOKENIZER, Needed

_UMT5 = "google/umt5-xxl"
_STATES_OF_DEEPSPEED = Path("checkpoint", "mp_rank_00_model_states.pt")
SHARED_FILES = (
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    "models_t5_umt5-xxl-enc-bf16.pth",
    "Wan2.1_VAE.pth",
)
"""Files of every Wan model that encode images, texts and videos."""
TRANSFORMER_FILES: Mapping[ModelName, tuple[str, ...]] = {
    "wan-14b": tuple(f"diffusion_pytorch_model-{part:05d}-of-00007.safetensors" for part in range(1, 8)),
    "wan-1.3b": ("diffusion_pytorch_model.safetensors",),
}
"""Files of the Wan model that takes WoW's weights."""


@dataclass(frozen=True, slots=True)
class WanWeights:
    """Paths of the weights of one of WoW's Wan models."""

    base: Path
    """Folder of the Wan model that WoW fine-tuned."""
    checkpoint: Path
    """WoW's own weights: a file, or the folder that DeepSpeed writes."""


# Relative to the repository: the base model's folder, and the names of WoW's own weights in its scripts. Of
# equally complete places, the first counts.
_WAN_PLACES: Mapping[ModelName, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "wan-14b": (
        (
            "dit_models/checkpoints/WoW-1-Wan-14B-600k",
            ("WoW_video_dit.pt", "wow-wan-600k-epoch=55-mp_rank_00_model_states.pt"),
        ),
        *(
            (
                f"{folder}/wow_wan/models--Wan-AI--Wan2.1-I2V-14B-480P",
                ("../../checkpoints/wan-epoch=95-train_loss=0.0265.ckpt",),
            )
            for folder in ("ditmodels", "dit_models")
        ),
    ),
    "wan-1.3b": tuple(
        (folder, ("WoW_ckpt",))
        for folder in (
            "dit_models/checkpoints/WoW-1-Wan-1.3B-2M",
            "ckpt/WoW-1-Wan-1.3B-2M",
            "dit_models/checkpoints/Wan2.1-T2V-1.3B",
        )
    ),
}


def find_weights(repo: Path, model: ModelName) -> WanWeights:
    """Weights from the most complete place."""
    places = []
    for base, names in _WAN_PLACES[model]:
        folder = repo / base
        checkpoints = [Path(os.path.normpath(folder / name)) for name in names]
        checkpoint = next((path for path in checkpoints if path.exists()), checkpoints[0])
        places.append(WanWeights(folder, checkpoint))
    return min(places, key=lambda place: sum(not n.has_its_names for n in needed_weights(model, place, "")))


def needed_weights(model: ModelName, at: WanWeights, remedy: str) -> list[Needed]:
    """Every file that is loaded; ``remedy`` is where to get them."""
    checkpoint = at.checkpoint / _STATES_OF_DEEPSPEED if at.checkpoint.is_dir() else at.checkpoint
    return [
        Needed("checkpoint", checkpoint, remedy=remedy),
        *(
            Needed("Wan2.1 file", at.base / name, remedy=remedy)
            for name in (*SHARED_FILES, *TRANSFORMER_FILES[model])
        ),
        # WoW's list of files omits it, but its pipeline loads it from beside the T5 encoder.
        Needed("tokenizer", at.base / _UMT5, TOKENIZER, remedy=f"get the tokenizer files of {_UMT5}"),
    ]
