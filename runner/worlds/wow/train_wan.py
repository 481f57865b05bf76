"""Trains a LoRA of WoW's wan-14b with WoW's own scripts, as a training command for ``finetune``.

``python -m runner.worlds.wow.train_wan --dataset D --work W --base B --out O --wow-repo R`` encodes the
videos of the dataset D (in the format ``wow-wan``) and trains on them, starting from the LoRA in the folder
B; if B is empty, it starts from WoW's original model. The LoRA is written to the folder O. W keeps the
encoded videos, so that a restart after a kill continues with them, and is removed at the end.

WoW's scripts run in W, which has the folders that they expect by name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import orjson

from runner.worlds.wow.checkout import Checkout, interpreter
from runner.worlds.wow.wan_weights import SHARED_FILES, TRANSFORMER_FILES
from streams.errors import BadInput
from streams.files import read_bytes
from trainers.datasets.formats import LINES

LORA = "lora.ckpt"
FACTS = "lora.json"
"""File beside the LoRA that states the rank it was trained with."""
ENCODED_FOLDER = "PATH_TO_PROCESSED_VIDEOS_DIR"
"""Name of the folder of encoded videos in WoW's scripts, relative to their working folder."""
_ENCODED = ".tensors.pth"
_WIDTH, _HEIGHT, _FRAMES = 832, 480, 81
_EPOCH = re.compile(r"epoch=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRules:
    """Settings of a LoRA training. Alpha equals the rank, so the LoRA is added unscaled."""

    steps: int = 500
    learning_rate: float = 1e-5
    rank: int = 4


DEFAULT = LoraRules()
"""Default values of WoW's own script."""


def lora_of(checkpoint: str) -> Path | None:
    """The LoRA in a checkpoint's folder, or a file that is one; None for the original model.

    Raises BadInput if there is none.
    """
    if not checkpoint:
        return None
    given = Path(checkpoint)
    lora = given / LORA if given.is_dir() else given
    if not lora.is_file():
        raise BadInput(f"{given}: has no LoRA of WoW's; expected a file, or a folder with {LORA}")
    return lora


def train_lora(
    checkout: Checkout,
    python: str,
    gpus: Sequence[str],
    split: Path,
    work: Path,
    base: str,
    out: Path,
    rules: LoraRules,
) -> None:
    """Encode the videos of ``split``, train on them, and write the LoRA to ``out``. Raises BadInput."""
    before = lora_of(base)
    if before is not None:
        require_rank(before, rules.rank)
    checkout.require_training(python)
    indices = lay_out(split, work)
    scripts = checkout.training_scripts
    weights = checkout.wan_weights("wan-14b")
    clip, t5, vae = (str(weights.base / name) for name in SHARED_FILES)
    common = [
        *("--dataset_path", ".", "--dataset_name", LINES, "--output_path", "output"),
        *("--num_nodes", "1", "--num_gpus", str(len(gpus) or 1), "--dataloader_num_workers", "1"),
    ]
    _run(
        [
            *(python, str(scripts.encode), "--task", "data_process", *common),
            *("--text_encoder_path", t5, "--image_encoder_path", clip, "--vae_path", vae, "--tiled"),
            *("--num_frames", str(_FRAMES), "--height", str(_HEIGHT), "--width", str(_WIDTH)),
        ],
        checkout,
        gpus,
        work,
    )
    missing = [index for index in indices if not (work / ENCODED_FOLDER / f"{index}.mp4{_ENCODED}").is_file()]
    if missing:
        raise BadInput(
            f"videos that WoW encoded: {len(indices) - len(missing)} of {len(indices)}; see what it printed"
        )
    transformer = [
        *(str(weights.base / name) for name in TRANSFORMER_FILES["wan-14b"]),
        str(weights.checkpoint),  # for a name in several of them, the last file counts
    ]
    shutil.rmtree(work / "output", ignore_errors=True)
    _run(
        [
            *(python, str(scripts.train), "--task", "train", *common, "--batch_size", "1"),
            *("--dit_path", ",".join(transformer), "--train_architecture", "lora"),
            *("--lora_rank", str(rules.rank), "--lora_alpha", str(rules.rank)),
            *("--steps_per_epoch", str(rules.steps), "--max_epochs", "1"),
            *("--learning_rate", str(rules.learning_rate), "--use_gradient_checkpointing"),
            *(("--pretrained_lora_path", str(before)) if before is not None else ()),
        ],
        checkout,
        gpus,
        work,
    )
    shutil.copyfile(_last_checkpoint(work / "output" / "checkpoints"), out / LORA)
    (out / FACTS).write_bytes(orjson.dumps({"rank": rules.rank, "steps": rules.steps}) + b"\n")
    shutil.rmtree(work, ignore_errors=True)


def require_rank(lora: Path, rank: int) -> None:
    """Raises BadInput if a LoRA is known to have another rank, because training cannot continue from it."""
    facts = lora.with_name(FACTS)
    if not facts.is_file():
        return
    try:
        found = orjson.loads(read_bytes(facts))["rank"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BadInput(f"{facts}: cannot be read; expected an object with the rank of {lora.name}") from None
    if found != rank:
        raise BadInput(f"{lora} has rank {found}, and rank {rank} is asked for; give the same one")


def lay_out(split: Path, work: Path) -> list[str]:
    """Make a working folder for a split. Returns the indices of its videos.

    What an earlier call encoded there stays, except for truncated files. Raises BadInput.
    """
    lines = [orjson.loads(line) for line in read_bytes(split / LINES).splitlines()]
    if not lines:
        raise BadInput(f"{split / LINES}: has no video; select more for the dataset")
    videos = work / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    for encoded in videos.glob(f"*{_ENCODED}"):
        if not zipfile.is_zipfile(encoded):  # complete PyTorch files are zip files
            encoded.unlink()
    for line in lines:
        link = work / line["video_path"]
        link.unlink(missing_ok=True)
        link.symlink_to((split / line["video_path"]).absolute())
    processed = work / ENCODED_FOLDER
    if not processed.is_symlink():
        # Both of WoW's scripts look into this folder.
        processed.symlink_to(videos.name)
    shutil.copyfile(split / LINES, work / LINES)
    return [line["index"] for line in lines]


def _run(arguments: Sequence[str], checkout: Checkout, gpus: Sequence[str], work: Path) -> None:
    environment = checkout.environment("wan-14b", arguments[0], ",".join(gpus) or None, os.environ)
    task = arguments[arguments.index("--task") + 1]
    print(f"{Path(arguments[1]).name} --task {task}", flush=True)
    try:
        status = subprocess.run(arguments, cwd=work, env=environment, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        raise BadInput(f"{arguments[0]} cannot be started: {error}") from None
    if status:
        raise BadInput(f"WoW's {Path(arguments[1]).name} --task {task} ended with status {status}")


def _last_checkpoint(folder: Path) -> Path:
    """The last epoch's checkpoint."""
    found = {int(epoch[1]): path for path in folder.glob("*.ckpt") if (epoch := _EPOCH.search(path.name))}
    if not found:
        raise BadInput("WoW's training left no checkpoint; see what it printed")
    last = found[max(found)]
    if not last.is_file():
        raise BadInput(f"{last}: is a folder, as DeepSpeed writes it; expected a file with a LoRA")
    return last


@click.command()
@click.option("--dataset", required=True, type=click.Path(path_type=Path))
@click.option("--work", required=True, type=click.Path(path_type=Path))
@click.option("--base", default="")
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--wow-repo", required=True, type=click.Path(path_type=Path))
@click.option("--wow-python", default="python")
@click.option("--gpus", default="")
@click.option("--steps", type=int, default=DEFAULT.steps)
@click.option("--learning-rate", type=float, default=DEFAULT.learning_rate)
@click.option("--lora-rank", type=int, default=DEFAULT.rank)
def main(
    dataset: Path,
    work: Path,
    base: str,
    out: Path,
    wow_repo: Path,
    wow_python: str,
    gpus: str,
    steps: int,
    learning_rate: float,
    lora_rank: int,
) -> None:
    """Train a LoRA of WoW's wan-14b with WoW's own scripts."""
    try:
        train_lora(
            Checkout.at(wow_repo),
            interpreter(wow_python),
            [gpu for gpu in gpus.split(",") if gpu],
            dataset / "train",
            work,
            base,
            out,
            LoraRules(steps=steps, learning_rate=learning_rate, rank=lora_rank),
        )
    except BadInput as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
