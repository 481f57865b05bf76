"""Stands in for WoW's ``train_wan_i2v.py`` and, by its own name, for ``train_wan_i2v_data.py``.

Their arguments are those of commit 08b0105, with their types, choices and defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts"))
import av  # noqa: E402
from wow_double import needs, needs_any, note, refuse_unless  # type: ignore[import-not-found]  # noqa: E402

ENCODES = Path(__file__).stem == "train_wan_i2v_data"
FOLDER = "PATH_TO_PROCESSED_VIDEOS_DIR"
STRATEGIES = (
    "auto", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3", "deepspeed_stage_2_offload",
    "deepspeed_stage_3_offload", "fsdp", "fsdp_native",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--task", type=str, required=True, choices=["data_process", "train"])
    add("--dataset_path", type=str, required=True)
    add("--dataset_name", type=str, required=True)
    add("--output_path", type=str, default="./")
    for name in ("text_encoder", "image_encoder", "vae", "dit", "pretrained_lora"):
        add(f"--{name}_path", type=str)
    for name, size in (
        ("tile_size_height", 34), ("tile_size_width", 34), ("tile_stride_height", 18),
        ("tile_stride_width", 16), ("steps_per_epoch", 500), ("num_frames", 81), ("height", 480),
        ("width", 832), ("accumulate_grad_batches", 1), ("max_epochs", 1), ("lora_rank", 4),
        ("node_rank", 0),
    ):  # fmt: skip
        add(f"--{name}", type=int, default=size)
    add("--dataloader_num_workers", type=int, default=1 if ENCODES else 15)
    add("--num_nodes", type=int, default=4 if ENCODES else 2)
    add("--num_gpus", type=int)
    add("--learning_rate", type=float, default=1e-5)
    add("--lora_alpha", type=float, default=4.0)
    add("--lora_target_modules", type=str, default="q,k,v,o,ffn.0,ffn.2")
    add("--init_lora_weights", type=str, default="kaiming", choices=["gaussian", "kaiming"])
    add("--training_strategy", type=str, default="auto", choices=STRATEGIES)
    add("--train_architecture", type=str, default="lora", choices=["lora", "full"])
    for flag in (
        "tiled",
        "use_gradient_checkpointing",
        "use_gradient_checkpointing_offload",
        "use_swanlab",
        "syncbnorm",
    ):
        add(f"--{flag}", action="store_true")
    add("--swanlab_mode")
    add("--master_addr", type=str, default="localhost")
    add("--master_port", type=str, default="12355")
    add("--resume_from_checkpoint", type=str)
    add("--fsdp_config", type=str)
    if ENCODES:
        add("--checkpoint_every_n_steps", type=int)
    else:
        add("--batch_size", type=int, required=True)
    return parser.parse_args()


def encode(given: argparse.Namespace, lines: list[dict[str, str]]) -> None:
    """The script of the training names something in this task that is defined nowhere."""
    if not ENCODES:
        raise NameError("name 'strategy' is not defined")
    for path in (given.text_encoder_path, given.image_encoder_path, given.vae_path):
        needs(path)
    tokenizer = f"{os.path.dirname(given.text_encoder_path)}/google/umt5-xxl"
    needs_any(tokenizer, "tokenizer_config.json", "config.json")
    needs_any(tokenizer, "tokenizer.json", "spiece.model")
    for line in lines:
        if not line.get("index"):
            continue
        target = f"{FOLDER}/{line['index']}.mp4.tensors.pth"
        if os.path.exists(target):
            continue
        with av.open(line["video_path"]) as video:
            assert next(video.decode(video=0)) is not None
        if "[lost]" in line["prompt"]:
            continue
        with zipfile.ZipFile(target, "w") as file:
            file.writestr("data", line["prompt"])
        note("encoded", index=line["index"])


def train(given: argparse.Namespace, lines: list[dict[str, str]]) -> None:
    paths = [f"{FOLDER}/{line['index']}.mp4.tensors.pth" for line in lines]
    encoded = [path for path in paths if os.path.exists(path)]
    assert encoded
    for path in encoded:
        zipfile.ZipFile(path).read("data")
    for path in given.dit_path.split(","):
        needs(path)
    moved = 0
    if given.pretrained_lora_path is not None:
        moved = json.loads(Path(given.pretrained_lora_path).read_text())["blocks.0.lora_B.default.weight"]
    lora = {"blocks.0.lora_A.default.weight": given.lora_rank, "blocks.0.lora_B.default.weight": moved + 1}
    folder = Path(given.output_path) / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "wan-epoch=00-train_loss=0.0625.ckpt").write_text(json.dumps(lora))
    note("trained", videos=len(encoded))


def main() -> None:
    given = arguments()
    note(Path(__file__).stem, arguments=vars(given))
    needs(__file__)
    refuse_unless(given.num_nodes == 1, f"it waits for {given.num_nodes} computers")
    dataset = Path(given.dataset_path) / given.dataset_name
    lines = [json.loads(line) for line in dataset.read_text(encoding="ascii").splitlines()]
    encode(given, lines) if given.task == "data_process" else train(given, lines)


if __name__ == "__main__":
    main()
