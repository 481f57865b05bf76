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
from runner.worlds.wow.names import MODELS, ModelName
from runner.worlds.wow.needed import Needed

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
_FIRST_BASE = "ditmodels/wow_wan/models--Wan-AI--Wan2.1-I2V-14B-480P"
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
    if layout == "DiffSynth-Studio":
        (repo / _FIRST_BASE).mkdir(parents=True)
        (repo / _FIRST_BASE / "Wan2.1_VAE.pth").touch()
    checkout = Checkout.at(repo)
    for model in MODELS:
        for need in checkout.needed(model):
            provide(need)
    trained = checkout.wan_weights("wan-14b").checkpoint
    if layout == "DiffSynth-Studio":
        trained.unlink()
        trained = trained / "checkpoint" / "mp_rank_00_model_states.pt"
        trained.parent.mkdir(parents=True)
    trained.write_text(json.dumps(TRAINED))
    small = checkout.wan_weights("wan-1.3b").checkpoint
    small.write_text(json.dumps(TRAINED_SMALL))
    image = repo.parent / "first.png"
    cv2.imwrite(str(image), np.full((48, 64, 3), (30, 20, 10), np.uint8))  # blue, green, red
    return FakeWow(repo, image, trained)


def provide(need: Needed) -> None:
    """Make it be there, with hardly anything in it."""
    if need.is_there:
        return
    files = [need.path / group[0].replace("*", "x") for group in need.holds] or [need.path]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or not file.stat().st_size:
            file.write_bytes(b"x")
