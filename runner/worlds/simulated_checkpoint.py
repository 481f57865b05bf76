"""A checkpoint of the simulated world, and its fine-tuning: it imitates the videos that it is trained on.

A checkpoint is a shift of the log-odds of each of the five failures; the original world has none.

A training uses videos with their captions. For each video the world knows how far the log-odds of its
failures lie from its own average for that caption and scene (``SimulatedWorld.surprise``). The shift moves by
the mean over the videos, times a rate. The consequences that matter here:

- *No free lunch.* Videos of the world's own, drawn at random with their own prompts, have a mean surprise of
  0, so in expectation the world stays the same. Only a large number of videos averages chance out.
- *Easy tasks teach nothing.* Success in an easy task is expected, so it is no surprise.
- *Few videos teach little.* The rate is ``LARGEST_STEP`` · n / (n + ``HALF_WAY_VIDEOS``) for n videos.
- *Captions matter.* If a video made with a refined prompt has the bare goal as caption, the refinement's
  effect is a surprise, so the world learns it.

What it leaves out: a real model may forget, lose variety, or learn only some tasks. So it shows that the
cycle and the selection work, but not how much any real model would gain.
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
"""Fraction of the mean surprise that a training with infinitely many videos would learn."""
HALF_WAY_VIDEOS = 100
"""Number of videos at which the rate is half of that."""
CHECKPOINT = "checkpoint.json"
_SCHEMA = "tribrain.simulated_checkpoint/1"
_FARTHEST = 6.0
"""Largest shift in either direction, in log-odds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldCheckpoint:
    """The shifts of a fine-tuned simulated world. Raises BadInput for invalid shifts."""

    shifts: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(FAILURES, 0.0))
    """Shift of each failure's log-odds; below 0 the failure is weaker."""
    videos: int = 0
    """Number of videos in all trainings."""

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
"""Log-odds above the world's average, by failure; below 0 the video is better than usual."""


def finetuned(base: WorldCheckpoint, shown: Iterable[Surprise]) -> WorldCheckpoint:
    """The checkpoint after training ``base`` on these videos; see the module.

    The same videos give the same bits, in any order. Without videos it is ``base``.
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
            f"{path}: is not a checkpoint of the simulated world ({error}); give a folder that "
            "runner.worlds.train_simulated wrote"
        ) from None
