"""A checkout of WoW with its checkpoints, as far as the stand-ins look at them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from runner.worlds.wow.checkout import Checkout
from runner.worlds.wow.names import ModelName

_FILES = Path(__file__).parent / "files"
_PLACES = {
    "wow_double.py": "scripts/wow_double.py",
    "torch.py": "torch.py",
    "video2world_2b.py": "dit_models/wow-dit-2b/video2world.py",
    "video2world_7b.py": "dit_models/wow-dit-7b/cosmos_predict1/diffusion/inference/video2world.py",
}
Layout = Literal["wan-simple", "DiffSynth-Studio"]
"""How the Wan models lie: as today, or as in WoW's first release; named after the folder of diffsynth."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_DIFFSYNTH: dict[Layout, str] = {
    "wan-simple": "dit_models/wan-simple",
    "DiffSynth-Studio": "ditmodels/wow_wan/DiffSynth-Studio",
}
_TRAINING = ("train_wan_i2v.py", "train_wan_i2v_data.py")
# Named here once more, so that a file which the checkout forgets to ask for is missed.
_OF_DIT = (
    "dit_models/wow-dit-2b/checkpoints/wow_dit_2b.pt",
    "dit_models/wow-dit-2b/checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/tokenizer/tokenizer.pth",
    "dit_models/wow-dit-7b/checkpoints/wow_dit_7b.pt",
    *(
        f"dit_models/wow-dit-7b/checkpoints/Cosmos-Tokenize1-CV8x8x8-720p/{name}"
        for name in ("encoder.jit", "decoder.jit", "mean_std.pt", "image_mean_std.pt")
    ),
    *(
        f"dit_models/{model}/checkpoints/google-t5/t5-11b/{name}"
        for model in ("wow-dit-2b", "wow-dit-7b")
        for name in ("config.json", "tokenizer.json", "x.safetensors")
    ),
)
_OF_WAN = (
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    "models_t5_umt5-xxl-enc-bf16.pth",
    "Wan2.1_VAE.pth",
    "google/umt5-xxl/tokenizer_config.json",
    "google/umt5-xxl/tokenizer.json",
)
_WAN_1B3 = "dit_models/checkpoints/WoW-1-Wan-1.3B-2M"
_SMALL = f"{_WAN_1B3}/WoW_ckpt"
_WAN_14B: dict[Layout, tuple[str, str]] = {
    "wan-simple": (
        "dit_models/checkpoints/WoW-1-Wan-14B-600k",
        "dit_models/checkpoints/WoW-1-Wan-14B-600k/WoW_video_dit.pt",
    ),
    "DiffSynth-Studio": (
        "ditmodels/wow_wan/models--Wan-AI--Wan2.1-I2V-14B-480P",
        "ditmodels/checkpoints/wan-epoch=95-train_loss=0.0265.ckpt/checkpoint/mp_rank_00_model_states.pt",
    ),
}
"""The base model's folder and WoW's own weights; DeepSpeed's folder in the first release."""
_PACKAGES = ("dit_models/wow-dit-2b/cosmos_predict2", "dit_models/wow-dit-7b/cosmos_predict1")
TRAINED = {"module": {"pipe.dit.blocks.0.weight": 7, "pipe.dit.head.weight": 8, "optimizer.step": 9}}
TRAINED_SMALL = {"blocks.0.weight": 7, "head.weight": 8, "patch_embedding.weight": 6}


@dataclass(frozen=True)
class FakeWow:
    repo: Path
    image: Path
    trained: Path
    """The file of wan-14b's own weights."""

    @property
    def checkout(self) -> Checkout:
        return Checkout.at(self.repo)

    def calls(self, what: str) -> list[dict[str, Any]]:
        """What the stand-ins noted under this name, in order."""
        notes = self.repo / "calls.jsonl"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["what"] == what]

    def hold(self, how: str, *, after: int = 0, prompt: str = "") -> None:
        """Have films held up; see ``film`` of the stand-ins."""
        beside = self._hold.with_suffix(".tmp")
        beside.write_text(json.dumps({"how": how, "after": after, "prompt": prompt}))
        beside.replace(self._hold)

    def release(self) -> None:
        self._hold.unlink()

    def break_down(self, model: ModelName) -> None:
        """Have the model's program end as soon as it loads, which it notes as "load"."""
        program = self.checkout.diffsynth / "diffsynth" / "__init__.py"
        if not model.startswith("wan"):
            program = self.checkout.script(model)
        notes = str(self.repo / "calls.jsonl")
        program.write_text(
            f"import sys\nwith open({notes!r}, 'a') as notes: print('{{\"what\": \"load\"}}', file=notes)\n"
            "sys.exit('no checkpoint')\n"
        )

    @property
    def _hold(self) -> Path:
        return self.repo / "hold.json"


def fake_checkout(repo: Path, layout: Layout = "wan-simple") -> FakeWow:
    """Write the checkout, and ``first.png`` beside it."""
    (repo / _DIFFSYNTH["wan-simple"]).mkdir(parents=True)
    diffsynth = f"{_DIFFSYNTH[layout]}/diffsynth/__init__.py"
    for source, place in (*_PLACES.items(), ("diffsynth.py", diffsynth)):
        (repo / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_FILES / source, repo / place)
    for name in _TRAINING:
        shutil.copyfile(_FILES / "train_wan_i2v.py", repo / _DIFFSYNTH["wan-simple"] / name)
    for package in _PACKAGES:
        (repo / package).mkdir(parents=True, exist_ok=True)
        (repo / package / "__init__.py").touch()
    base, trained = _WAN_14B[layout]
    weights = [*_OF_DIT, *_wan(_WAN_1B3, 1), *_wan(base, 7)]
    for name, content in [*((name, "x") for name in weights), (trained, TRAINED), (_SMALL, TRAINED_SMALL)]:
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(content if isinstance(content, str) else json.dumps(content))
    image = repo.parent / "first.png"
    cv2.imwrite(str(image), np.full((48, 64, 3), (30, 20, 10), np.uint8))  # blue, green, red
    return FakeWow(repo, image, repo / trained)


def _wan(base: str, parts: int) -> list[str]:
    """Files of a Wan model in this folder, whose transformer is in so many parts."""
    part = "diffusion_pytorch_model"
    names = [f"{part}-{n:05d}-of-{parts:05d}" for n in range(1, parts + 1)] if parts > 1 else [part]
    return [f"{base}/{name}" for name in (*_OF_WAN, *(f"{name}.safetensors" for name in names))]
