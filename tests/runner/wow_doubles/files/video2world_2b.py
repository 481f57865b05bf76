"""Stands in for WoW's ``dit_models/wow-dit-2b/video2world.py``."""

from __future__ import annotations

import argparse
import json
import os

# Of this folder.
import cosmos_predict2  # type: ignore[import-not-found]  # noqa: F401
from wow_double import REPO, check_environment, denoise, film, needs, needs_encoder, note  # type: ignore[import-not-found]

# A folder of its authors' machine in the original.
FIXED_FOLDER = str(REPO / "fixed-folder")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--model_size", choices=["2B", "14B"], default="2B")
    add("--resolution", type=str, default="720")
    add("--fps", type=int, choices=[10, 16], default=16)
    add("--dit_path", type=str, default="")
    add("--prompt", type=str, default="")
    add("--input_path", type=str, default="assets/video2world/input0.jpg")
    add("--negative_prompt", type=str, default="")
    add("--num_conditional_frames", type=int, choices=[1, 5], default=1)
    add("--batch_input_json", type=str, default=None)
    add("--guidance", type=float, default=7)
    add("--seed", type=int, default=0)
    add("--save_path", type=str, default="output/generated_video.mp4")
    add("--num_gpus", type=int, default=1)
    for flag in (
        "disable_guardrail",
        "offload_guardrail",
        "disable_prompt_refiner",
        "offload_prompt_refiner",
    ):
        add(f"--{flag}", action="store_true")
    add("--benchmark", action="store_true")
    return parser.parse_args()


def generate(given: argparse.Namespace, image: str, prompt: str, path: str) -> None:
    ending = os.path.splitext(image)[1]
    known = (".png", ".jpg", ".jpeg", "webp", ".mp4")
    if not os.path.exists(image) or ending.lower() not in known or "[reject]" in prompt:
        print(f"WARNING: skipping {image}")
        return
    if ending != ending.lower() and ending.lower() != ".mp4":
        raise ValueError(f"Invalid image extension: {ending}")
    denoise(prompt, given.seed)
    if folder := os.path.dirname(path):
        os.makedirs(folder, exist_ok=True)
    print(f"INFO: saving {path}", flush=True)
    film(path, prompt, given.seed, 10 if given.fps == 10 else 16)


def main() -> None:
    given = arguments()
    note("dit-2b", arguments=vars(given))
    needs(__file__)
    check_environment(allocator=True)
    if not given.disable_guardrail:
        needs("checkpoints/nvidia/Cosmos-Guardrail1")
    needs(given.dit_path or "checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/model-720p-16fps.pt")
    needs("checkpoints/nvidia/Cosmos-Predict2-2B-Video2World/tokenizer/tokenizer.pth")
    needs_encoder("checkpoints/google-t5/t5-11b")
    if given.batch_input_json is None:
        generate(given, given.input_path, given.prompt, given.save_path)
        return
    with open(given.batch_input_json, encoding="ascii") as file:
        items = [json.loads(line) for line in file]
    note("batch", items=items)
    for number, item in enumerate(items, start=1):
        print(f"INFO: item {number} of {len(items)}", flush=True)
        image, prompt = item.get("video_path", ""), item.get("dense_lang", "")
        path = os.path.join(FIXED_FOLDER, item.get("output_video", image.split("/")[-1]))
        if image and prompt:
            generate(given, image, prompt, path)


if __name__ == "__main__":
    main()
