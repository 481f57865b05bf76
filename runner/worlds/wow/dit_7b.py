"""WoW's 7B model, on Cosmos-Predict1: one process per video."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from runner.interfaces import GenerationRequest
from runner.worlds.process import LOCK_NAME, LOG_NAME, run_to_end
from runner.worlds.wow.checkout import POST_TRAINED, link_problem
from runner.worlds.wow.names import ModelName
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.world import VIDEO_NAME, Made, WowWorld, making_folders, taken
from streams.errors import BadInput


class Dit7B(WowWorld):
    """Runs ``cosmos_predict1/diffusion/inference/video2world.py``, with a separate folder for each video.

    The trained checkpoint is linked to where that program looks for it, as WoW's script does, but no existing
    file is replaced. Raises BadInput if another file is in the way.
    """

    model: ClassVar[ModelName] = "dit-7b"
    reserved: ClassVar[frozenset[str]] = frozenset(
        {
            *("--checkpoint_dir", "--input_image_or_video_path", "--prompt", "--seed"),
            *("--video_save_name", "--video_save_folder", "--batch_input_path"),
        }
    )

    options: ClassVar[Mapping[str, str]] = {"frames": "--num_video_frames", "steps": "--num_steps"}
    frame_step: ClassVar[int] = 8
    most_frames: ClassVar[int] = 121

    def __init__(self, settings: WowSettings) -> None:
        super().__init__(settings)
        given = {argument.partition("=")[0] for argument in settings.extra}
        if "--diffusion_transformer_dir" not in given:
            link_checkpoint(settings.checkout.dit_7b / "checkpoints")

    def jobs(self, requests: Sequence[GenerationRequest]) -> list[list[int]]:
        return [[place] for place in range(len(requests))]

    def make(self, requests: Sequence[GenerationRequest], gpu: str | None) -> list[Made]:
        return [self._make(request, gpu) for request in requests]

    def _make(self, request: GenerationRequest, gpu: str | None) -> Made:
        checkout = self.settings.checkout
        # The program also writes the prompt into a .txt beside the video; it is removed with the folder.
        with making_folders([request]) as (folder,):
            command = [
                *(self.settings.python, str(checkout.script(self.model))),
                *("--checkpoint_dir", str(checkout.dit_7b / "checkpoints")),
                *("--diffusion_transformer_dir", POST_TRAINED),
                *("--video_save_folder", str(folder), "--video_save_name", Path(VIDEO_NAME).stem),
                *("--num_input_frames", "1", "--disable_prompt_upsampler", "--disable_guardrail"),
                *("--offload_diffusion_transformer", "--offload_text_encoder_model"),
                *("--height", "720", "--width", "1024"),
                *("--input_image_or_video_path", str(self.settings.image)),
                *(f"--prompt={request.prompt}", "--seed", str(request.seed)),
            ]
            ending = run_to_end(
                [*command, *self.chosen(), *self.settings.extra],
                request.out_dir / LOG_NAME,
                timeout_s=self.settings.timeout_s,
                groups=self.groups,
                cwd=checkout.dit_7b,
                environment=self.environment(gpu),
                listener=self.listener(request),
                locks=[request.out_dir / LOCK_NAME],
            )
            return taken(folder / VIDEO_NAME, request, ending)


def link_checkpoint(checkpoints: Path) -> None:
    """Link ``wow_dit_7b.pt`` to where the program looks for a post-trained model; keep a correct link.

    A broken link, as in a checkout that was moved, is replaced. Raises BadInput if a file or another link is
    in the way, or if no link can be made.
    """
    trained, link = checkpoints / "wow_dit_7b.pt", checkpoints / POST_TRAINED / "model.pt"
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and not link.exists():
            beside = link.with_name(f".{link.name}.{os.getpid()}.tmp")
            beside.symlink_to(trained)
            beside.replace(link)
        elif not os.path.lexists(link):
            link.symlink_to(trained)
    except OSError as error:
        # Another process may have been faster, or the folder may belong to others.
        if not os.path.lexists(link):
            raise BadInput(
                f"{link}: cannot be linked to {trained}: {error.strerror}; make it yourself"
            ) from None
    if problem := link_problem(checkpoints):
        raise BadInput(problem)
    if not link.exists():
        raise BadInput(f"{link} leads nowhere and cannot be replaced; make a link to {trained} there")
