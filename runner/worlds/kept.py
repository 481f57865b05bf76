"""A world model of which no finished video is ever made twice, whatever ends the process in between.

Beside each video stands ``generation.json``, written once the video is whole: what it was made of, its size
and its SHA-256. A folder with a video that agrees with it is taken as it is; any other is emptied first,
since what is in it was cut short.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from runner.interfaces import (
    BatchWorldModel,
    Generation,
    GenerationFailed,
    GenerationRequest,
    WorldModel,
)
from streams.fail_points import reach
from streams.files import write_atomically

NAME = "generation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``generation.json``: a finished generation, and how its video is known again."""

    SCHEMA: ClassVar[str] = "tribrain.generation/1"

    schema: str = SCHEMA
    world_model: str
    prompt: str
    seed: int
    video: str
    """Path from the folder of the file."""
    bytes: int
    sha256: str
    outcome: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


def keeping(world: WorldModel) -> WorldModel:
    """``world``, with every finished video known again; one that makes several at once still does."""
    return _KeepingBatch(world) if isinstance(world, BatchWorldModel) else _Keeping(world)


class _Keeping:
    def __init__(self, world: WorldModel) -> None:
        self.name = world.name
        self._world = world

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        request = GenerationRequest(prompt=prompt, seed=seed, out_dir=out_dir)
        return self._finished(request) or self._keep(request, self._generate(request))

    def _generate(self, request: GenerationRequest) -> Generation:
        _empty(request.out_dir)
        return self._world.generate(request.prompt, seed=request.seed, out_dir=request.out_dir)

    def _finished(self, request: GenerationRequest) -> Generation | None:
        """The generation that the folder holds, if it is the one that is asked for and its video is whole."""
        try:
            kept = msgspec.json.decode((request.out_dir / NAME).read_bytes(), type=Kept)
            video = request.out_dir / kept.video
            same = (kept.schema, kept.world_model, kept.prompt, kept.seed) == (
                Kept.SCHEMA,
                self.name,
                request.prompt,
                request.seed,
            )
            if not (same and video.stat().st_size == kept.bytes and _sha256(video) == kept.sha256):
                return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return Generation(video=video, outcome=kept.outcome, meta=kept.meta, context=kept.context)

    def _keep(self, request: GenerationRequest, made: Generation) -> Generation:
        reach("world.generated")
        root, video = request.out_dir.resolve(), made.video.resolve()
        if video.is_relative_to(root) and video.is_file():
            kept = Kept(
                world_model=self.name,
                prompt=request.prompt,
                seed=request.seed,
                video=video.relative_to(root).as_posix(),
                bytes=video.stat().st_size,
                sha256=_sha256(video),
                outcome=made.outcome,
                meta=made.meta,
                context=made.context,
            )
            write_atomically(request.out_dir / NAME, msgspec.json.encode(kept))
            reach("world.kept")
        return made


class _KeepingBatch(_Keeping):
    def __init__(self, world: BatchWorldModel) -> None:
        super().__init__(world)
        self._batch = world

    def generate_all(self, requests: Sequence[GenerationRequest]) -> list[Generation | GenerationFailed]:
        finished = {request.out_dir: self._finished(request) for request in requests}
        left = [request for request in requests if finished[request.out_dir] is None]
        for request in left:
            _empty(request.out_dir)
        results = iter(self._batch.generate_all(left) if left else ())
        return [finished[request.out_dir] or self._kept(request, next(results)) for request in requests]

    def _kept(
        self, request: GenerationRequest, made: Generation | GenerationFailed
    ) -> Generation | GenerationFailed:
        return self._keep(request, made) if isinstance(made, Generation) else made


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
