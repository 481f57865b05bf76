"""wan-14b with several LoRAs side by side, for the comparison in a fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.train_wan import lora_of
from runner.worlds.wow.wan import Wan14B


class LoraWorlds:
    """One world per checkpoint, which stays loaded until ``close``.

    Two are loaded at a time, the previous checkpoint and the new one: each has its own GPU, or half of the
    only one.
    """

    def __init__(self, settings: WowSettings) -> None:
        self._settings = settings
        self._open: dict[str, Wan14B] = {}

    def world_of(self, checkpoint: str, image: Path) -> Wan14B:
        """``checkpoint`` is a LoRA or its folder, or empty for the original model. Raises BadInput."""
        if checkpoint not in self._open:
            lora, gpus = lora_of(checkpoint), self._settings.gpus
            place = len(self._open) % max(len(gpus), 1)
            settings = replace(
                self._settings,
                gpus=gpus[place : place + 1],
                sharing=1 if len(gpus) > 1 else 2,
                extra=(*self._settings.extra, *(("--lora", str(lora)) if lora is not None else ())),
            )
            self._open[checkpoint] = Wan14B(replace(settings, image=image))
        return self._open[checkpoint].with_image(image)

    def close(self) -> None:
        """End every process; the next world is loaded again."""
        while self._open:
            _, world = self._open.popitem()
            world.close()
