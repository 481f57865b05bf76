"""A checkpoint of the simulated world, and a fine-tuning of it: what it is shown, it does more often.

A checkpoint is a shift of the log-odds of each of the five failures; none at all is the world as it was made.

A training shows videos with their captions. Of each video the world knows how far its failures' log-odds lie
from those that it would itself have on average for that caption and scene (``SimulatedWorld.surprise``), and
the shift moves by the mean over the videos, times a rate. That has the properties that matter here:

- *No free lunch.* Videos of the world's own, drawn at random and shown with their own prompts, surprise it by
  0 on average, so in expectation it stays where it is. Only their number keeps chance out of the mean.
- *Easy tasks teach nothing.* What a task makes easy is expected, so it is no surprise.
- *Few videos teach little.* The rate is ``LARGEST_STEP`` · n / (n + ``HALF_WAY_VIDEOS``) for n videos.
- *Captions matter.* A video that was made with a refined prompt but is captioned with the bare goal surprises
  the world by what the refinement did, which it so takes over.

What it leaves out: a real model may forget, lose its variety, or learn for some tasks and not for others. So
it shows that the cycle and the selection work, and says nothing of how much any real model would gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import orjson

from runner.worlds.scene import Failures
from streams.errors import BadInput
from streams.files import read_bytes

FAILURES = tuple(each.name for each in fields(Failures))
LARGEST_STEP = 0.5
"""Share of the mean surprise that a training with endlessly many videos takes over."""
HALF_WAY_VIDEOS = 100
"""Videos after which the rate is half of that."""
CHECKPOINT = "checkpoint.json"
_SCHEMA = "tribrain.simulated_checkpoint/1"
_FARTHEST = 6.0
"""Largest shift either way, in log-odds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldCheckpoint:
    """What sets a fine-tuned simulated world apart. Raises BadInput for shifts that cannot be."""

    shifts: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(FAILURES, 0.0))
    """Failure to what its log-odds are shifted by; below 0 the failure is weaker."""
    videos: int = 0
    """That all trainings have shown."""

    def __post_init__(self) -> None:
        known = all(
            isinstance(shift, float | int) and abs(shift) <= _FARTHEST for shift in self.shifts.values()
        )
        if tuple(self.shifts) != FAILURES or not known:
            raise BadInput(
                f"the checkpoint shifts {dict(self.shifts)}; expected a number within {_FARTHEST:g} of 0 for "
                f"each of {', '.join(FAILURES)}, in this order"
            )


Surprise = Mapping[str, float]
"""Failure to log-odds beyond those that the world has on average; below 0 the video is better than usual."""


def finetuned(base: WorldCheckpoint, shown: Iterable[Surprise]) -> WorldCheckpoint:
    """The checkpoint that comes of showing these videos to ``base``; see the module.

    The same videos give the same bits, in whatever order. No videos give ``base``.
    """
    videos = list(shown)
    if not videos:
        return base
    n = len(videos)
    rate = LARGEST_STEP * n / (n + HALF_WAY_VIDEOS)
    moved = {
        name: base.shifts[name] + rate * math.fsum(video[name] for video in videos) / n for name in FAILURES
    }
    return WorldCheckpoint(
        shifts={name: min(_FARTHEST, max(-_FARTHEST, shift)) for name, shift in moved.items()},
        videos=base.videos + n,
    )


def encode_checkpoint(checkpoint: WorldCheckpoint) -> bytes:
    """The content of a checkpoint's JSON file; equal checkpoints have equal bytes."""
    content = {"schema": _SCHEMA, "shifts": dict(checkpoint.shifts), "videos": checkpoint.videos}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"


def read_checkpoint(folder: Path) -> WorldCheckpoint:
    """The checkpoint in a folder, its file ``CHECKPOINT``. Raises BadInput."""
    path = folder / CHECKPOINT
    try:
        content = orjson.loads(read_bytes(path))
        if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
            raise ValueError(f"its schema is not {_SCHEMA}")
        return WorldCheckpoint(shifts=dict(content["shifts"]), videos=int(content["videos"]))
    except BadInput as error:
        raise error if str(path) in str(error) else BadInput(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path}: is no checkpoint of the simulated world ({error}); give a folder that "
            "runner.worlds.train_simulated wrote"
        ) from None
