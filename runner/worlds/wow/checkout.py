"""Finds files, and what is missing, in a checkout of WoW (github.com/wow-world-model/wow-world-model)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.worlds.wow.first_frame import image_problem
from runner.worlds.wow.names import ModelName
from runner.worlds.wow.needed import T5, Groups, Needed, require_all
from runner.worlds.wow.wan_weights import WanWeights, find_weights, needed_weights

POST_TRAINED = "Cosmos-Predict1-7B-Video2World_post-trained"
"""The folder among dit-7b's checkpoints where its script expects the trained model."""
PAGES: Mapping[ModelName, str] = {
    "dit-2b": "WoW-world-model/WoW-1-DiT-2B-600k",
    "dit-7b": "WoW-world-model/WoW-1-DiT-7B-600k",
    "wan-14b": "WoW-world-model/WoW-1-Wan-14B-600k",
    "wan-1.3b": "WoW-world-model/WoW-1-Wan-1.3B-2M",
}
"""The Hugging Face repositories with WoW's weights, by model."""
_REPOSITORY = "https://github.com/wow-world-model/wow-world-model"
_TOKENIZER_2B = "checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/tokenizer/tokenizer.pth"
_TOKENIZER_7B = "Cosmos-Tokenize1-CV8x8x8-720p"
_TOKENIZER_7B_FILES: Groups = tuple(
    (name,) for name in ("encoder.jit", "decoder.jit", "mean_std.pt", "image_mean_std.pt")
)
_T5 = "google-t5/t5-11b"
_T5_CACHE = "models--google-t5--t5-11b"
_T5_REMEDY = f"get {_T5} from Hugging Face into this folder: 45 GB"

# Folders with the package ``diffsynth``: the current one, and that of WoW's first release.
_DIFFSYNTH = (
    "dit_models/wan-simple",
    "ditmodels/wow_wan/DiffSynth-Studio",
    "dit_models/wow_wan/DiffSynth-Studio",
)


@dataclass(frozen=True, slots=True)
class TrainingScripts:
    """WoW's training scripts for its Wan models."""

    encode: Path
    """The script for the task ``data_process``, which skips what is already encoded."""
    train: Path
    """The script for the task ``train``."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout of WoW's repository; ``repo`` is absolute, and links in it are not resolved.

    WoW has moved its Wan models once (commit a4a939c), so code and weights are each looked for in the current
    place and in that of the first release.
    """

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
    def diffsynth(self) -> Path:
        """The folder that contains the package ``diffsynth``."""
        places = [self.repo / place for place in _DIFFSYNTH]
        return next((place for place in places if (place / "diffsynth").is_dir()), places[0])

    def wan_weights(self, model: ModelName) -> WanWeights:
        """Weights from the most complete place."""
        return find_weights(self.repo, model)

    def script(self, model: ModelName) -> Path:
        """The script to run; for Wan, which has no command line, a file that shows that it is there."""
        if model == "dit-2b":
            return self.dit_2b / "video2world.py"
        if model == "dit-7b":
            return self.dit_7b / "cosmos_predict1" / "diffusion" / "inference" / "video2world.py"
        return self.diffsynth / "diffsynth"

    def folder(self, model: ModelName) -> Path:
        """The working folder of its programs."""
        return {"dit-2b": self.dit_2b, "dit-7b": self.dit_7b}.get(model, self.repo)

    def needed(self, model: ModelName, extra: Sequence[str] = ()) -> tuple[Needed, ...]:
        """Everything that must exist before a video can be made.

        ``extra`` are the generator's further arguments: a path given there replaces the one in the checkout.
        """
        given = _options_in(extra)
        if model == "dit-2b":
            return self._needed_by_2b(given)
        if model == "dit-7b":
            return self._needed_by_7b(given)
        weights = self.wan_weights(model)
        base, checkpoint = given.get("--base-model"), given.get("--checkpoint")
        diffsynth = self.repo / given["--diffsynth"] if "--diffsynth" in given else self.diffsynth
        return (
            Needed("diffsynth", diffsynth / "diffsynth", (("__init__.py",),)),
            *needed_weights(
                model,
                WanWeights(
                    self.repo / base if base is not None else weights.base,
                    self.repo / checkpoint if checkpoint is not None else weights.checkpoint,
                ),
                _from_page(model),
            ),
            *([Needed("LoRA", self.repo / given["--lora"])] if "--lora" in given else []),
        )

    def _needed_by_2b(self, given: Mapping[str, str]) -> tuple[Needed, ...]:
        t5 = self.dit_2b / "checkpoints" / _T5
        trained = self.dit_2b / given.get("--dit_path", "checkpoints/wow_dit_2b.pt")
        return (
            Needed("script", self.script("dit-2b")),
            Needed("checkpoint", trained, remedy=_from_page("dit-2b")),
            Needed("tokenizer", self.dit_2b / _TOKENIZER_2B),
            Needed("T5 encoder", t5, T5, (t5 / _T5_CACHE,), _T5_REMEDY),
        )

    def _needed_by_7b(self, given: Mapping[str, str]) -> tuple[Needed, ...]:
        checkpoints = self.dit_7b / "checkpoints"
        other = given.get("--diffusion_transformer_dir")
        trained = checkpoints / (f"{other}/model.pt" if other is not None else "wow_dit_7b.pt")
        caches = (_hugging_face_cache(os.environ) / _T5_CACHE,)
        return (
            Needed("script", self.script("dit-7b")),
            Needed("checkpoint", trained, remedy=_from_page("dit-7b")),
            Needed("tokenizer", checkpoints / _TOKENIZER_7B, _TOKENIZER_7B_FILES),
            Needed("T5 encoder", checkpoints / _T5, T5, caches, _T5_REMEDY),
        )

    def missing(self, model: ModelName, extra: Sequence[str] = ()) -> list[Needed]:
        """What is needed but missing."""
        return [need for need in self.needed(model, extra) if not need.is_there]

    def problems(self, model: ModelName, extra: Sequence[str] = ()) -> list[str]:
        """What prevents a video although all files exist."""
        given = _options_in(extra)
        if model == "dit-7b" and "--diffusion_transformer_dir" not in given:
            problem = link_problem(self.dit_7b / "checkpoints")
            return [problem] if problem else []
        if model.startswith("wan"):
            diffsynth = self.repo / given["--diffsynth"] if "--diffsynth" in given else self.diffsynth
            if (diffsynth / "diffsynth" / "core").is_dir():
                return [
                    f"{diffsynth} is DiffSynth-Studio 2, which has no ModelManager; WoW needs its own "
                    f"{_DIFFSYNTH[0]}, or a version 1"
                ]
        return []

    @property
    def training_scripts(self) -> TrainingScripts:
        """Paths of both scripts, even if they are missing."""
        folder = self.repo / _DIFFSYNTH[0]
        return TrainingScripts(folder / "train_wan_i2v_data.py", folder / "train_wan_i2v.py")

    def needed_to_train(self) -> tuple[Needed, ...]:
        """Everything that must exist before wan-14b can be trained."""
        return (
            Needed("training script", self.training_scripts.train),
            # The training script has the task too, but fails at it on a name that is defined nowhere.
            Needed("encoding script", self.training_scripts.encode),
            *needed_weights("wan-14b", self.wan_weights("wan-14b"), _from_page("wan-14b")),
        )

    def training_problems(self) -> list[str]:
        """What prevents training wan-14b although all files exist."""
        weights = self.wan_weights("wan-14b")
        if weights.checkpoint.is_dir():
            return [
                f"{weights.checkpoint} is a DeepSpeed folder, which WoW's training cannot read; "
                f"{_from_page('wan-14b').replace('it', 'WoW_video_dit.pt', 1)}"
            ]
        comma = [path for path in (weights.base, weights.checkpoint) if "," in str(path)]
        return [f"{comma[0]} has a comma in its name, at which WoW's training splits it"] if comma else []

    def require_training(self, python: str) -> None:
        """Raises BadInput naming everything that is missing for training wan-14b."""
        require_all(
            "WoW's wan-14b cannot be trained", self.needed_to_train(), self.training_problems(), python
        )

    def needed_to_finetune(self, extra: Sequence[str] = ()) -> tuple[Needed, ...]:
        """Everything that must exist before wan-14b can be trained, and make the compared videos.

        ``extra`` are further arguments of the generator, which training does not take.
        """
        return tuple(dict.fromkeys((*self.needed_to_train(), *self.needed("wan-14b", extra))))

    def finetuning_problems(self, extra: Sequence[str] = ()) -> list[str]:
        """What prevents training wan-14b, or the compared videos, although all files exist."""
        return [*self.training_problems(), *self.problems("wan-14b", extra)]

    def require_finetuning(self, python: str, extra: Sequence[str] = ()) -> None:
        """Raises BadInput naming everything that is missing for training wan-14b and comparing its
        checkpoints."""
        needed, problems = self.needed_to_finetune(extra), self.finetuning_problems(extra)
        require_all("WoW's wan-14b cannot be fine-tuned", needed, problems, python)

    def found(self, model: ModelName) -> tuple[str, ...]:
        """The model's folders that were found, relative to the repository."""
        if model.startswith("wan"):
            folders = [self.diffsynth, self.wan_weights(model).base]
        else:
            folders = [self.folder(model)]
        return tuple(str(folder.relative_to(self.repo)) for folder in folders if folder.is_dir())

    def environment(
        self, model: ModelName, python: str, gpu: str | None, outer: Mapping[str, str]
    ) -> dict[str, str]:
        """The environment of its programs, derived from ``outer`` as WoW's own scripts do.

        ``PYTHONPATH`` is only WoW's: this program's own is for another interpreter. If ``python`` belongs to
        a conda environment, that environment provides CUDA. Only ``gpu`` is visible.
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


def require(
    checkout: Checkout, model: ModelName, *, image: Path, python: str, extra: Sequence[str] = ()
) -> None:
    """Raises BadInput naming everything that ``model`` lacks, or that otherwise keeps it from running."""
    needed: Sequence[Needed] = ()
    problems = [f"the repository {checkout.repo} is missing (clone {_REPOSITORY}, and name it as --wow-repo)"]
    if checkout.repo.is_dir():
        needed, problems = checkout.needed(model, extra), checkout.problems(model, extra)
    if problem := image_problem(model, image):
        problems.append(problem)
    require_all(f"WoW's {model} cannot run", needed, problems, python)


def interpreter(python: str) -> str:
    """A program's name unchanged, or its absolute path."""
    return os.path.abspath(python) if os.sep in python else python


def link_problem(checkpoints: Path) -> str:
    """Why dit-7b's program would load another model than WoW's ``wow_dit_7b.pt``; empty if it would not."""
    trained, link = checkpoints / "wow_dit_7b.pt", checkpoints / POST_TRAINED / "model.pt"
    if not link.exists() or (trained.exists() and link.samefile(trained)):
        return ""
    what = f"links to {os.readlink(link)}" if link.is_symlink() else "is a file of its own"
    return (
        f"{link} {what}, and dit-7b needs a link to {trained} there; move it away, "
        "or name its folder with --wow-extra-args '--diffusion_transformer_dir NAME'"
    )


def _from_page(model: ModelName) -> str:
    return f"get it from https://huggingface.co/{PAGES[model]}"


def _options_in(extra: Sequence[str]) -> dict[str, str]:
    """Option to value; of a repeated option the last value counts, as in the programs."""
    given = {}
    for argument, following in zip(extra, (*extra[1:], ""), strict=False):
        name, has_value, value = argument.partition("=")
        if name.startswith("--"):
            given[name] = value if has_value else following
    return given


def _hugging_face_cache(environment: Mapping[str, str]) -> Path:
    home = Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(environment.get("HF_HUB_CACHE") or home / "hub")


def _conda_prefix(python: str) -> str | None:
    found = shutil.which(python)
    if found is None:
        return None
    prefix = Path(os.path.abspath(found)).parent.parent
    return str(prefix) if (prefix / "conda-meta").is_dir() else None
