"""Stands in for WoW's ``cosmos_predict1/diffusion/inference/video2world.py`` of ``dit_models/wow-dit-7b``."""

from __future__ import annotations

import argparse
import os

# Found on PYTHONPATH alone: this file lies deeper.
import cosmos_predict1  # type: ignore[import-not-found]  # noqa: F401
from wow_double import check_environment, denoise, film, needs, needs_encoder, note  # type: ignore[import-not-found]

CHOICES = (
    "Cosmos-Predict1-7B-Video2World",
    "Cosmos-Predict1-14B-Video2World",
    "Cosmos-Predict1-7B-Video2World_post-trained",
    "Cosmos-Predict1-7B-Video2World-sft",
    "Cosmos-Predict1-7B-Video2World_post-trained-4gpu_80gb",
    "Cosmos-Predict1-7B-Video2World_post-trained-8gpu_40gb",
    "Cosmos-Predict1-7B-Video2World_post-trained-4gpu_40gb",
    "Cosmos-Predict1-7B-Video2World_post-trained-lora",
    "Cosmos-Predict1-14B-Video2World_post-trained",
    "WoWDiT-7B-WorldModel",
)
FLAGS = (
    "disable_prompt_upsampler", "offload_diffusion_transformer", "offload_tokenizer",
    "offload_text_encoder_model", "offload_prompt_upsampler", "offload_guardrail_models", "disable_guardrail",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--checkpoint_dir", type=str, default="checkpoints")
    add("--tokenizer_dir", type=str, default="Cosmos-Tokenize1-CV8x8x8-720p")
    add("--video_save_name", type=str, default="output")
    add("--video_save_folder", type=str, default="outputs/")
    add("--prompt", type=str)
    add("--batch_input_path", type=str)
    add("--negative_prompt", type=str, default="")
    add("--num_steps", type=int, default=35)
    add("--guidance", type=float, default=7)
    add("--num_video_frames", type=int, default=121, choices=[*(8 * n + 1 for n in range(16)), 10, 117])
    add("--height", type=int, default=704)
    add("--width", type=int, default=1280)
    add("--fps", type=int, default=24)
    add("--seed", type=int, default=1)
    add("--num_gpus", type=int, default=1)
    for flag in FLAGS:
        add(f"--{flag}", action="store_true")
    add("--diffusion_transformer_dir", type=str, default=CHOICES[0], choices=CHOICES)
    add("--prompt_upsampler_dir", type=str, default="Pixtral-12B")
    add("--input_image_or_video_path", type=str)
    add("--num_input_frames", type=int, default=1, choices=[1, 9])
    return parser.parse_args()


def main() -> None:
    given = arguments()
    note("dit-7b", arguments=vars(given))
    needs(__file__)
    check_environment(allocator=False)
    assert given.prompt or given.batch_input_path or not given.disable_prompt_upsampler
    assert given.input_image_or_video_path or given.batch_input_path
    needs("cosmos_predict1/diffusion/inference")  # its configuration is read from the working folder
    needs(f"{given.checkpoint_dir}/{given.diffusion_transformer_dir}/model.pt")
    for name in ("encoder.jit", "decoder.jit", "mean_std.pt", "image_mean_std.pt"):
        needs(f"{given.checkpoint_dir}/Cosmos-Tokenize1-CV8x8x8-720p/{name}")
    needs_encoder(f"{given.checkpoint_dir}/google-t5/t5-11b")
    os.makedirs(given.video_save_folder, exist_ok=True)
    if "[reject]" in given.prompt:
        print("CRITICAL: the guardrail has blocked it")
        return
    denoise(given.prompt, given.seed)
    base = os.path.join(given.video_save_folder, given.video_save_name)
    with open(f"{base}.txt", "wb") as file:
        file.write(given.prompt.encode())
    film(f"{base}.mp4", given.prompt, given.seed, given.fps)


if __name__ == "__main__":
    main()
