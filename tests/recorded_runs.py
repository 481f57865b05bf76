"""Folders of finished runs with small real videos, for what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from runner.video import write_video
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from tests import factories

GOAL = "put the cup on the shelf"


def footage(picture: int, *, size: int = 64, n: int = 8) -> NDArray[np.uint8]:
    """Frames (n, size, size, 3) of coarse patches; those of another picture are far from them."""
    patches = np.random.default_rng(picture).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return patches.repeat(size // 8, axis=1).repeat(size // 8, axis=2)


def panned(picture: int, *, size: int = 64, n: int = 8) -> NDArray[np.uint8]:
    """Frames (n, size, size, 3) of one smooth picture that moves by a pixel a frame."""
    patches = np.random.default_rng(picture).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(patches, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.stack([np.roll(smooth, t, axis=1) for t in range(n)]).astype(np.uint8)


def write_run(
    folder: Path,
    scores: Sequence[float | None],
    *,
    run_id: str = "",
    goal: str = GOAL,
    task_id: str | None = None,
    pictures: Mapping[int, int] | None = None,
    critics: Sequence[Mapping[str, float | None]] | None = None,
    outcomes: Mapping[int, float] | None = None,
    meta: Mapping[str, object] | None = None,
) -> list[TraceEvent]:
    """A run in ``folder``, whose name is its id, with a video for each iteration that has a score.

    ``pictures`` says by iteration what is to be seen; by default each has its own.
    """
    run_id = run_id or folder.name
    events = []
    for i, score in enumerate(scores):
        event = factories.event(
            i,
            score,
            run_id=run_id,
            critics=critics[i] if critics is not None else None,
            outcome=(outcomes or {}).get(i),
        )
        of_run = {
            "goal_instruction": goal,
            "task_id": task_id or run_id,
            "seed": 5,
            "generation_seed": 100 + i,
        }
        prompt = goal if i == 0 else f"{goal}\n\nRequirements:\n- task: step {i}."
        events.append(replace(event, prompt=prompt, meta=event.meta | of_run | dict(meta or {})))
        if score is not None:
            video = folder / event.artifact_path
            video.parent.mkdir(parents=True)
            name = sum(run_id.encode()) * 1000 + i
            write_video(video, footage((pictures or {}).get(i, name)), 8.0)
    write_trace(folder, events)
    return events


def write_trace(folder: Path, events: Sequence[TraceEvent]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    run_id = events[0].run_id
    end = RunEnd(run_id=run_id, iterations=tuple(event.iter_idx for event in events))
    messages: list[TraceEvent | RunEnd] = [*events, end]
    (folder / "trace.jsonl").write_bytes(b"".join(encode(message) + b"\n" for message in messages))
