"""A world model of which no finished video is ever made twice, whatever ends the process in between.

Beside each video stands ``generation.json``. Before its generator starts it says what is asked for; once the
video is whole, its size and its SHA-256 too. A folder with a video that agrees with it is taken as it is.

Where only the request is noted, the process was ended in between. First its generator is ended, if that was
left behind: it holds ``generator.lock``. What it had made by then is at rest, so a world that is
``Recovering`` can say whether the video was finished, however long nobody was there to note it: nothing has
to be noted at the moment at which a video is finished, so there is no such moment to miss. Any other folder
is emptied, and its video made: what is in it was cut short.

How surely a finished video is told from one that was cut short is the world's to say. WoW's models leave an
MP4 at a place that is known, which counts where it is complete (``runner.video.require_whole``). A command's
video counts where its exit status 0 was noted; between its end and that note, which a shell makes, lies about
a millisecond. The simulated world draws in this process, and draws again what was not noted.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from runner.interfaces import (
    BatchWorldModel,
    Generation,
    GenerationFailed,
    GenerationRequest,
    WorldModel,
)
from runner.worlds.group_lock import end_left_behind
from runner.worlds.process import LOCK_NAME
from streams.fail_points import reach
from streams.files import write_atomically

NAME = "generation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """``generation.json``: what was asked for and, once it is finished, how its video is known again."""

    SCHEMA: ClassVar[str] = "tribrain.generation/1"

    schema: str = SCHEMA
    world_model: str
    prompt: str
    seed: int
    video: str | None = None
    """Path from the folder of the file; null: it is not known to be finished."""
    bytes: int = 0
    sha256: str = ""
    outcome: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Recovering(WorldModel, Protocol):
    """A world model that knows a finished video of its own again, of which nobody was told."""

    def recovered(self, request: GenerationRequest) -> Generation | None:
        """The video in the request's folder, if it is surely whole.

        It was asked for exactly this in an empty folder; whoever did is gone, and so is the generator.
        """
        ...


def keeping(world: WorldModel) -> WorldModel:
    """``world``, with every finished video known again; one that makes several at once still does.

    Nothing else may work in the candidates' folders. Raises BadInput from either call where a generator that
    was left behind cannot be ended.
    """
    return _KeepingBatch(world) if isinstance(world, BatchWorldModel) else _Keeping(world)


class _Keeping:
    def __init__(self, world: WorldModel) -> None:
        self.name = world.name
        self._world = world

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        request = GenerationRequest(prompt=prompt, seed=seed, out_dir=out_dir)
        end_left_behind(out_dir / LOCK_NAME)
        if (known := self._known(request)) is not None:
            return known
        self._begin(request)
        try:
            made = self._world.generate(prompt, seed=seed, out_dir=out_dir)
        except GenerationFailed:
            _unlock(request)
            raise
        return self._keep(request, made)

    def _known(self, request: GenerationRequest) -> Generation | None:
        """The generation that the folder holds, if it is the one that is asked for and its video is whole."""
        try:
            noted = msgspec.json.decode((request.out_dir / NAME).read_bytes(), type=GenerationRecord)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        asked_for = (noted.schema, noted.world_model, noted.prompt, noted.seed)
        if asked_for != (GenerationRecord.SCHEMA, self.name, request.prompt, request.seed):
            return None
        if noted.video is not None:
            return _finished(request, noted.video, noted)
        made = self._world.recovered(request) if isinstance(self._world, Recovering) else None
        return self._keep(request, made) if made is not None else None

    def _begin(self, request: GenerationRequest) -> None:
        """All that is needed to know the video again stands on the disk before it is begun."""
        _empty(request.out_dir)
        (request.out_dir / LOCK_NAME).touch()
        write_atomically(request.out_dir / NAME, msgspec.json.encode(self._noted(request)))

    def _keep(self, request: GenerationRequest, made: Generation) -> Generation:
        reach("world.generated")
        root, video = request.out_dir.resolve(), made.video.resolve()
        if video.is_relative_to(root) and video.is_file():
            kept = replace(
                self._noted(request),
                video=video.relative_to(root).as_posix(),
                bytes=video.stat().st_size,
                sha256=_sha256(video),
                outcome=made.outcome,
                meta=made.meta,
                context=made.context,
            )
            write_atomically(request.out_dir / NAME, msgspec.json.encode(kept))
            reach("world.kept")
        _unlock(request)
        return made

    def _noted(self, request: GenerationRequest) -> GenerationRecord:
        return GenerationRecord(world_model=self.name, prompt=request.prompt, seed=request.seed)


class _KeepingBatch(_Keeping):
    def __init__(self, world: BatchWorldModel) -> None:
        super().__init__(world)
        self._batch = world

    def generate_all(self, requests: Sequence[GenerationRequest]) -> list[Generation | GenerationFailed]:
        for request in requests:
            end_left_behind(request.out_dir / LOCK_NAME)
        # All are looked at before any folder is emptied: one generator may have worked on several.
        known = [self._known(request) for request in requests]
        left = [request for request, one in zip(requests, known, strict=True) if one is None]
        for request in left:
            self._begin(request)
        results = iter(self._batch.generate_all(left) if left else ())
        return [
            one if one is not None else self._kept(request, next(results))
            for request, one in zip(requests, known, strict=True)
        ]

    def _kept(
        self, request: GenerationRequest, made: Generation | GenerationFailed
    ) -> Generation | GenerationFailed:
        if isinstance(made, Generation):
            return self._keep(request, made)
        _unlock(request)
        return made


def _finished(request: GenerationRequest, name: str, noted: GenerationRecord) -> Generation | None:
    video = request.out_dir / name
    try:
        if video.stat().st_size != noted.bytes or _sha256(video) != noted.sha256:
            return None
    except OSError:
        return None
    return Generation(video=video, outcome=noted.outcome, meta=noted.meta, context=noted.context)


def _unlock(request: GenerationRequest) -> None:
    """What the lock could tell is known by now."""
    (request.out_dir / LOCK_NAME).unlink(missing_ok=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
