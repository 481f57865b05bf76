"""Where things lie in a checkout of WoW (github.com/wow-world-model/wow-world-model), and what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from runner.interfaces import GenerationFailed
from runner.video import read_first_frame
from streams.errors import BadInput

ModelName = Literal["dit-2b", "dit-7b", "wan-14b"]
MODELS: tuple[ModelName, ...] = get_args(ModelName)

POST_TRAINED = "Cosmos-Predict1-7B-Video2World_post-trained"
"""The folder of dit-7b's checkpoints in which its script looks for the trained model."""
_TOKENIZER_2B = "checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/tokenizer/tokenizer.pth"
_TOKENIZER_7B = "Cosmos-Tokenize1-CV8x8x8-720p"
_WAN_BASE = "wow_wan/models--Wan-AI--Wan2.1-I2V-14B-480P"
_WAN_CHECKPOINT = "checkpoints/wan-epoch=95-train_loss=0.0265.ckpt"
_WAN_FILES = (
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    *(f"diffusion_pytorch_model-0000{part}-of-00007.safetensors" for part in range(1, 8)),
    "models_t5_umt5-xxl-enc-bf16.pth",
    "Wan2.1_VAE.pth",
    "google/umt5-xxl",
)


@dataclass(frozen=True, slots=True)
class Needed:
    """A file or folder without which a model makes no video."""

    what: str
    path: Path
    replaced_by: str = ""
    """An option of the generator that names another one; then this one is not needed."""

    @property
    def is_there(self) -> bool:
        return self.path.exists()


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout of WoW's repository; ``repo`` is absolute, and links in it stay as they are."""

    repo: Path

    @classmethod
    def at(cls, repo: Path) -> Checkout:
        return cls(Path(os.path.abspath(repo)))

    @property
    def dit_2b(self) -> Path:
        return self.repo / "dit_models" / "wow-dit-2b"

    @property
    def dit_7b(self) -> Path:
        return self.repo / "dit_models" / "wow-dit-7b"

    @property
    def wan(self) -> Path:
        """WoW's demo says ``ditmodels`` and its page ``dit_models``: the one that there is."""
        either = [self.repo / name for name in ("ditmodels", "dit_models")]
        return next((folder for folder in either if (folder / "wow_wan").is_dir()), either[0])

    @property
    def wan_base(self) -> Path:
        return self.wan / _WAN_BASE

    @property
    def wan_checkpoint(self) -> Path:
        return self.wan / _WAN_CHECKPOINT

    @property
    def diffsynth(self) -> Path:
        return self.wan / "wow_wan" / "DiffSynth-Studio"

    def script(self, model: ModelName) -> Path:
        """What is run or, for wan-14b, which has no command line, what shows that it is there."""
        return {
            "dit-2b": self.dit_2b / "video2world.py",
            "dit-7b": self.dit_7b / "cosmos_predict1" / "diffusion" / "inference" / "video2world.py",
            "wan-14b": self.diffsynth / "diffsynth",
        }[model]

    def folder(self, model: ModelName) -> Path:
        """The folder that its programs run in."""
        return {"dit-2b": self.dit_2b, "dit-7b": self.dit_7b, "wan-14b": self.repo}[model]

    def needed(self, model: ModelName) -> tuple[Needed, ...]:
        """All that has to be there before a video can be made."""
        script = Needed("script", self.script(model))
        if model == "dit-2b":
            trained = self.dit_2b / "checkpoints" / "wow_dit_2b.pt"
            return (
                script,
                Needed("checkpoint", trained, "--dit_path"),
                Needed("tokenizer", self.dit_2b / _TOKENIZER_2B),
            )
        if model == "dit-7b":
            checkpoints = self.dit_7b / "checkpoints"
            return (
                script,
                Needed("checkpoint", checkpoints / "wow_dit_7b.pt", "--diffusion_transformer_dir"),
                Needed("tokenizer", checkpoints / _TOKENIZER_7B, "--tokenizer_dir"),
            )
        return (
            Needed("DiffSynth-Studio", self.script(model), "--diffsynth"),
            Needed("checkpoint", self.wan_checkpoint, "--checkpoint"),
            *(Needed("Wan2.1 file", self.wan_base / name, "--base-model") for name in _WAN_FILES),
        )

    def missing(self, model: ModelName, extra: Sequence[str] = ()) -> list[Needed]:
        """What is needed and not there; ``extra`` are the generator's further arguments."""
        given = {argument.partition("=")[0] for argument in extra}
        return [need for need in self.needed(model) if need.replaced_by not in given and not need.is_there]

    def environment(
        self, model: ModelName, python: str, gpu: str | None, outer: Mapping[str, str]
    ) -> dict[str, str]:
        """The environment of its programs, as WoW's own scripts make it from ``outer``.

        ``PYTHONPATH`` is WoW's alone: what stands in it for this program is for another interpreter. Where
        ``python`` belongs to a conda environment, CUDA is taken from that one. Only ``gpu`` is visible.
        """
        parts = (self.folder(model), self.repo, self.repo / "scripts")
        made = dict(outer)
        made["PYTHONPATH"] = os.pathsep.join(map(str, dict.fromkeys(parts)))
        made["PYTHONUNBUFFERED"] = "1"
        if prefix := _conda_prefix(python) or outer.get("CONDA_PREFIX"):
            made["CUDA_HOME"] = made["CONDA_PREFIX"] = prefix
        if model == "dit-2b":
            made["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
        if gpu is not None:
            made["CUDA_VISIBLE_DEVICES"] = gpu
        return made


# The endings that each generator reads; another is passed over, with exit status 0 and without a video.
_ENDINGS: Mapping[ModelName, tuple[str, ...]] = {
    "dit-2b": (".png", ".jpg", ".jpeg", ".mp4"),
    "dit-7b": (".png", ".jpg", ".jpeg", ".mp4"),
    "wan-14b": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff", ".mp4"),
}


def image_problem(model: ModelName, image: Path) -> str:
    """Why a first frame (an image, or a video whose first frame counts) cannot be used; empty if it can."""
    if not image.is_file():
        return f"the image {image} is missing"
    if image.suffix not in _ENDINGS[model]:
        return (
            f"the image {image} ends in {image.suffix or 'nothing'}, which {model} does not read "
            f"(it reads {', '.join(_ENDINGS[model])})"
        )
    try:
        read_first_frame(image)
    except GenerationFailed as error:
        return str(error)
    return ""


def require(
    checkout: Checkout, model: ModelName, *, image: Path, python: str, extra: Sequence[str] = ()
) -> None:
    """Raises BadInput that names all that is missing for ``model``, and all else that stands in its way."""
    problems = []
    if not checkout.repo.is_dir():
        problems.append(f"the repository {checkout.repo} is missing")
    else:
        problems += [f"the {need.what} {need.path} is missing" for need in checkout.missing(model, extra)]
    if shutil.which(python) is None:
        problems.append(f"the interpreter {python!r} (--wow-python) is not a program that can be run")
    if problem := image_problem(model, image):
        problems.append(problem)
    if problems:
        raise BadInput(f"WoW's {model} cannot run: {'; '.join(problems)}")


def interpreter(python: str) -> str:
    """A program's name as it is, or its path from anywhere."""
    return os.path.abspath(python) if os.sep in python else python


def _conda_prefix(python: str) -> str | None:
    found = shutil.which(python)
    if found is None:
        return None
    prefix = Path(os.path.abspath(found)).parent.parent
    return str(prefix) if (prefix / "conda-meta").is_dir() else None
