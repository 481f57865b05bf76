"""A checkout of WoW with its checkpoints, as far as the stand-ins look at them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runner.worlds.wow.checkout import MODELS, Checkout

_FILES = Path(__file__).parent / "files"
_PLACES = {
    "wow_double.py": "scripts/wow_double.py",
    "torch.py": "torch.py",
    "video2world_2b.py": "dit_models/wow-dit-2b/video2world.py",
    "video2world_7b.py": "dit_models/wow-dit-7b/cosmos_predict1/diffusion/inference/video2world.py",
    "diffsynth.py": "ditmodels/wow_wan/DiffSynth-Studio/diffsynth/__init__.py",
}
_PACKAGES = ("dit_models/wow-dit-2b/cosmos_predict2", "dit_models/wow-dit-7b/cosmos_predict1")
TRAINED = {"module": {"pipe.dit.blocks.0.weight": 7, "pipe.dit.head.weight": 8, "optimizer.step": 9}}


@dataclass(frozen=True)
class FakeWow:
    repo: Path
    image: Path

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

    @property
    def _hold(self) -> Path:
        return self.repo / "hold.json"


def fake_checkout(repo: Path) -> FakeWow:
    """Write the checkout, and ``first.png`` beside it."""
    for source, place in _PLACES.items():
        (repo / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_FILES / source, repo / place)
    for package in _PACKAGES:
        (repo / package).mkdir(parents=True, exist_ok=True)
        (repo / package / "__init__.py").touch()
    checkout = Checkout.at(repo)
    for model in MODELS:
        for need in checkout.needed(model):
            if not need.is_there:
                need.path.parent.mkdir(parents=True, exist_ok=True)
                need.path.touch()
    checkout.wan_checkpoint.unlink()
    state = checkout.wan_checkpoint / "checkpoint" / "mp_rank_00_model_states.pt"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps(TRAINED))
    image = repo.parent / "first.png"
    cv2.imwrite(str(image), np.full((48, 64, 3), (30, 20, 10), np.uint8))  # blue, green, red
    return FakeWow(repo, image)
