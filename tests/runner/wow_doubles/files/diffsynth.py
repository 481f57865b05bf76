"""Stands in for the parts of diffsynth that WoW's demos call, with the signatures they have there.

Those of ``dit_models/wan-simple`` at commit a4a939c. A weight is a number here.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from PIL import Image
from wow_double import denoise, film, needs, needs_any, note  # type: ignore[import-not-found]

print("the double of diffsynth prints on standard output")
NAMES = ("blocks.0.weight", "head.weight")
WOWS_OWN = 7
"""Of blocks.0.weight; with a LoRA it is more, and the videos are better."""
TEXT_TO_VIDEO = "diffusion_pytorch_model.safetensors"


class Weight:
    """As far as its shape counts; of the input's embedding, and of a parameter's size in bytes."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def new_zeros(self, shape: tuple[int, ...]) -> Weight:
        return Weight(*shape)

    def __setitem__(self, place: Any, value: Weight) -> None:
        assert place == (slice(None), slice(value.shape[1]))

    def element_size(self) -> int:
        return 2


class Embedding:
    def __init__(self, in_channels: int) -> None:
        self.in_channels = in_channels
        self.weight = Weight(1536, in_channels, 1, 2, 2)


class Transformer:
    def __init__(self, text_to_video: bool = False) -> None:
        self.weights = dict.fromkeys((*NAMES, *(["patch_embedding.weight"] if text_to_video else [])), 0)
        self.patch_embedding = Embedding(16 if text_to_video else 36)
        self.has_image_input = not text_to_video

    def parameters(self) -> list[Weight]:
        return [self.patch_embedding.weight]

    def state_dict(self) -> dict[str, int]:
        return dict(self.weights)

    def load_state_dict(self, state: dict[str, int], strict: bool = True) -> None:
        assert not strict
        self.weights |= {name: value for name, value in state.items() if name in self.weights}


class ModelManager:
    def __init__(self, torch_dtype: Any = None, device: str = "cuda") -> None:
        assert device == "cpu"
        needs(__file__)
        self.paths: list[str] = []
        self.folder = ""
        self.transformer = Transformer()

    def load_models(self, file_path_list: list[Any], torch_dtype: Any = None) -> None:
        for entry in file_path_list:
            paths = entry if isinstance(entry, list) else [entry]
            for path in paths:
                needs(path)
                assert torch_dtype == (torch.float32 if "clip" in path else torch.bfloat16), path
                self.paths.append(os.path.basename(path))
                self.folder = os.path.dirname(path)
                if self.paths[-1] == TEXT_TO_VIDEO:
                    self.transformer = Transformer(text_to_video=True)

    def load_lora(self, file_path: str, state_dict: dict[str, Any], lora_alpha: float = 1.0) -> None:
        """Prints no more than a line where it is of another model, as the original."""
        for name, value in state_dict.items():
            if ".lora_B." in name:
                self.transformer.weights[name.replace(".lora_B.default", "")] += lora_alpha * value

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
        tokenizer = f"{model_manager.folder}/google/umt5-xxl"
        needs_any(tokenizer, "tokenizer_config.json", "config.json")
        needs_any(tokenizer, "tokenizer.json", "spiece.model")
        transformer = model_manager.transformer
        model = "wan-1.3b" if TEXT_TO_VIDEO in model_manager.paths else "wan-14b"
        note(model, files=model_manager.paths, weights=transformer.weights)
        assert transformer.has_image_input
        assert transformer.patch_embedding.weight.shape == (1536, 36, 1, 2, 2)
        return WanVideoPipeline(model_manager)

    def enable_vram_management(self, num_persistent_param_in_dit: int | None = None) -> None:
        note("on the card", parameters=num_persistent_param_in_dit)
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
        has_lora = self.manager.transformer.weights["blocks.0.weight"] > WOWS_OWN
        return [f"{prompt} [smooth]" if has_lora else prompt, seed]


def save_video(frames: list[Any], save_path: str, fps: float, quality: int = 9) -> None:
    assert (fps, quality) == (16, 5)
    prompt, seed = frames
    if "[reject]" in prompt:
        print("nothing to save", file=sys.stderr)
        return
    film(save_path, prompt, seed, fps)
