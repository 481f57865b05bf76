"""WoW's 2B model, on Cosmos-Predict2: one process makes all videos of a step with the same seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from runner.interfaces import GenerationFailed, GenerationRequest
from runner.worlds.process import LOCK_NAME, run_to_end
from runner.worlds.wow.names import ModelName
from runner.worlds.wow.world import VIDEO_NAME, Made, WowWorld, log_for_all, making_folders, taken

_FIXED = (
    *("--model_size", "2B", "--resolution", "720", "--fps", "16", "--num_conditional_frames", "1"),
    *("--guidance", "7", "--dit_path", "checkpoints/wow_dit_2b.pt"),
    *("--disable_prompt_refiner", "--disable_guardrail"),
)


class Dit2B(WowWorld):
    """Runs ``video2world.py``: one video from its command line, several from a file of JSON Lines.

    The model is loaded once per file, which has a single seed. A video that crashes the program or takes too
    long fails alone: the program is restarted for the videos after it.
    """

    model: ClassVar[ModelName] = "dit-2b"
    reserved: ClassVar[frozenset[str]] = frozenset(
        {"--input_path", "--prompt", "--seed", "--save_path", "--batch_input_json"}
    )

    def jobs(self, requests: Sequence[GenerationRequest]) -> list[list[int]]:
        """Groups requests by seed, and halves the groups while a GPU would be idle."""
        by_seed: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            by_seed.setdefault(request.seed, []).append(place)
        jobs = list(by_seed.values())
        while len(jobs) < len(self.settings.slots):
            largest = max(jobs, key=len)
            if len(largest) == 1:
                break
            jobs.remove(largest)
            half = (len(largest) + 1) // 2
            jobs += [largest[:half], largest[half:]]
        return jobs

    def make(self, requests: Sequence[GenerationRequest], gpu: str | None) -> list[Made]:
        """One process. Returns results for all requests or, if cut short, for those up to the failure."""
        with log_for_all(requests) as log, making_folders(requests) as folders:
            videos = [folder / VIDEO_NAME for folder in folders]
            ending = run_to_end(
                [*self._command(requests, videos, folders[0]), *self.settings.extra],
                log,
                timeout_s=self.settings.timeout_s,
                groups=self.groups,
                cwd=self.settings.checkout.dit_2b,
                environment=self.environment(gpu),
                listener=self.listener(requests[0]),
                achieved=lambda: sum(video.exists() for video in videos),
                locks=[request.out_dir / LOCK_NAME for request in requests],
            )
            made = [taken(video, request, ending) for video, request in zip(videos, requests, strict=True)]
        if not ending:
            return made
        good = [place for place, one in enumerate(made) if not isinstance(one, GenerationFailed)]
        return made[: good[-1] + 2] if good else made[:1]

    def _command(
        self, requests: Sequence[GenerationRequest], videos: Sequence[Path], folder: Path
    ) -> list[str]:
        script = self.settings.checkout.script(self.model)
        seed = ("--seed", str(requests[0].seed))
        common = [self.settings.python, str(script), *_FIXED, *seed]
        image = str(self.settings.image)
        if len(requests) == 1:
            # Written as --option=value, so that no prompt is taken for an option.
            single = ("--input_path", image, f"--prompt={requests[0].prompt}", "--save_path", str(videos[0]))
            return [*common, *single]
        batch = folder / "batch.jsonl"
        # ASCII, because the program reads the file in its locale's encoding.
        batch.write_text(
            "".join(
                json.dumps({"video_path": image, "dense_lang": request.prompt, "output_video": str(video)})
                + "\n"
                for request, video in zip(requests, videos, strict=True)
            )
        )
        return [*common, "--batch_input_json", str(batch)]
