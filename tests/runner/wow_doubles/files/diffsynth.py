"""Stands in for the parts of DiffSynth-Studio that WoW's demo calls, with the signatures they have there."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from PIL import Image
from wow_double import denoise, film, needs, note  # type: ignore[import-not-found]

print("the double of diffsynth prints on standard output")
NAMES = ("blocks.0.weight", "head.weight")


class Transformer:
    def __init__(self) -> None:
        self.weights = dict.fromkeys(NAMES, 0)

    def state_dict(self) -> dict[str, int]:
        return dict(self.weights)

    def load_state_dict(self, state: dict[str, int], strict: bool = True) -> None:
        assert not strict
        self.weights |= {name: value for name, value in state.items() if name in self.weights}


class ModelManager:
    def __init__(self, torch_dtype: Any = None, device: str = "cuda") -> None:
        assert device == "cpu"
        self.paths: list[str] = []
        self.transformer = Transformer()

    def load_models(self, file_path_list: list[Any], torch_dtype: Any = None) -> None:
        for entry in file_path_list:
            paths = entry if isinstance(entry, list) else [entry]
            for path in paths:
                needs(path)
                assert torch_dtype == (torch.float32 if "clip" in path else torch.bfloat16), path
                self.paths.append(os.path.basename(path))

    def fetch_model(self, model_name: str) -> Any:
        return self.transformer if model_name == "wan_video_dit" else None


class WanVideoPipeline:
    def __init__(self, manager: ModelManager) -> None:
        self.manager = manager
        self.managed = False

    @staticmethod
    def from_model_manager(
        model_manager: ModelManager, torch_dtype: Any = None, device: Any = None
    ) -> WanVideoPipeline:
        assert (torch_dtype, device) == (torch.bfloat16, "cuda:0")
        note("wan-14b", files=model_manager.paths, weights=model_manager.transformer.weights)
        return WanVideoPipeline(model_manager)

    def enable_vram_management(self, num_persistent_param_in_dit: int | None = None) -> None:
        assert num_persistent_param_in_dit == 60_000_000_000
        self.managed = True

    def __call__(
        self, prompt: str, negative_prompt: str = "", input_image: Any = None, seed: int | None = None,
        height: int = 480, width: int = 832, num_frames: int = 81, num_inference_steps: int = 50,
        tiled: bool = True, progress_bar_cmd: Any = None,
    ) -> list[Any]:  # fmt: skip
        assert self.managed
        assert isinstance(input_image, Image.Image)
        assert seed is not None
        given = {
            "steps": num_inference_steps,
            "size": [width, height],
            "num_frames": num_frames,
            "tiled": tiled,
        }
        note("wan video", prompt=prompt, seed=seed, corner=input_image.getpixel((0, 0)), **given)
        for _ in progress_bar_cmd(list(range(num_inference_steps))):
            pass
        print(f"generating {prompt}", flush=True)
        if "[lost]" in prompt:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if "[dies]" in prompt:
            os.kill(os.getpid(), 9)
        denoise(prompt, seed)
        return [prompt, seed]


def save_video(frames: list[Any], save_path: str, fps: float, quality: int = 9) -> None:
    assert (fps, quality) == (16, 5)
    prompt, seed = frames
    if "[reject]" in prompt:
        print("nothing to save", file=sys.stderr)
        return
    film(save_path, prompt, seed, fps)
