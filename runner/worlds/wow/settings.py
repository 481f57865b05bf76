"""The user's settings for WoW's generators, shared by all its models."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.worlds.wow.checkout import Checkout, interpreter
from streams.errors import BadInput

ProgressListener = Callable[[Path, str], None]
"""Called with a candidate's folder and its generator's newest line, from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WowSettings:
    """How WoW is called. Its programs run in other folders, so paths become absolute.

    Raises BadInput for an invalid time-out or invalid GPUs.
    """

    checkout: Checkout
    image: Path
    """The first frame: an image, or a video whose first frame is used."""
    python: str = "python"
    """The interpreter of WoW's own environment."""
    gpus: tuple[str, ...] = ()
    """GPUs as in CUDA_VISIBLE_DEVICES, one per candidate made at the same time; empty: unchanged."""
    timeout_s: float = 3600.0
    """Longest time of one generation, loading the model included."""
    persistent_gb: float | None = None
    """GB of parameters that stay on the card; None: chosen by the card's memory, as in WoW's table."""
    sharing: int = 1
    """Number of models on the card; without ``persistent_gb`` each takes an equal part of it."""
    frames: int | None = None
    """Frames per video; None, here and below: the model's default."""
    steps: int | None = None
    """Denoising steps."""
    tiled: bool | None = None
    """Whether frames are decoded in tiles, which takes less memory."""
    extra: tuple[str, ...] = ()
    """Further arguments of the generator."""
    listener: ProgressListener | None = None

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise BadInput(f"the generator's time-out is {self.timeout_s} s; it must be above 0")
        if len(set(self.gpus)) < len(self.gpus) or not all(self.gpus):
            raise BadInput(f"the GPUs are {','.join(self.gpus)!r}; expected each once, as in 0,1")
        # Links stay: a cache of models links names with an ending to files without one.
        object.__setattr__(self, "image", Path(os.path.abspath(self.image)))
        object.__setattr__(self, "python", interpreter(self.python))

    def chosen(self) -> dict[str, float | int | bool]:
        """The given options that only some models have."""
        given = {name: getattr(self, name) for name in ("persistent_gb", "frames", "steps", "tiled")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def slots(self) -> tuple[str | None, ...]:
        """What works in parallel: each GPU, or one process that uses the GPUs it finds."""
        return self.gpus or (None,)


def refuse_reserved(extra: tuple[str, ...], reserved: frozenset[str]) -> None:
    """Raises BadInput if ``extra`` has an option that is always given, or an abbreviation of one."""
    for argument in extra:
        name = argument.partition("=")[0]
        taken = next((r for r in sorted(reserved) if len(name) > 2 and r.startswith(name)), None)
        if name.startswith("--") and taken is not None:
            raise BadInput(
                f"--wow-extra-args has {name}, but {taken} is given for each candidate; leave it out"
            )
