"""A world model that never makes a finished video twice, even if a process is killed in between.

Each video has a ``generation.json`` beside it. Before its generator starts, the file states the request; once
the video is complete, it also states the video's size and SHA-256. A folder whose video matches is reused. If
only the request is recorded, the process was killed in between. First its generator, which holds
``generator.lock``, is ended if it is still running. Then the folder no longer changes, and a world that is
``Recovering`` can tell whether the video was finished, however much later that is. It needs no record from
the moment at which the video was finished, so no such moment can be missed. Any other folder was cut short:
it is emptied, and its video is made again.

How reliably a finished video can be told from a truncated one depends on the world. WoW's models leave an MP4
at a known place, which counts if it is complete (``runner.video.require_whole``). A command's video counts if
its exit status 0 was recorded, which a shell does about a millisecond after the command ends. The simulated
world draws in this process, and redraws what was not recorded.
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
from streams.files import plain, write_atomically

NAME = "generation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """``generation.json``: the request and, once the video is finished, how to recognise it."""

    SCHEMA: ClassVar[str] = "tribrain.generation/1"

    schema: str = SCHEMA
    world_model: str
    prompt: str
    seed: int
    video: str | None = None
    """Path relative to the file's folder; null if the video is not known to be finished."""
    bytes: int = 0
    sha256: str = ""
    outcome: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Recovering(WorldModel, Protocol):
    """A world model that can recognise its own finished video if no one was told about it."""

    def recovered(self, request: GenerationRequest) -> Generation | None:
        """The video in the request's folder, if it is certainly complete.

        It was requested exactly like this, in an empty folder; the caller is gone, and so is the generator.
        """
        ...


def keeping(world: WorldModel) -> WorldModel:
    """``world``, but reusing every finished video; a batch world model stays one.

    Nothing else may use the candidates' folders. Both calls raise BadInput if a left-behind generator
    cannot be ended.
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
        """The generation in the folder, if it matches the request and its video is complete."""
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
        """Record on disk what is needed to recognise the video, before it is begun."""
        empty(request.out_dir)
        (request.out_dir / LOCK_NAME).touch()
        write_atomically(request.out_dir / NAME, msgspec.json.encode(self._noted(request)))

    def _keep(self, request: GenerationRequest, made: Generation) -> Generation:
        reach("world.generated")
        root, video = request.out_dir.resolve(), made.video.resolve()
        name = video.relative_to(root).as_posix() if video.is_relative_to(root) else None
        if name is not None and plain(name) == name and video.is_file():  # the loop refuses all others
            kept = replace(
                self._noted(request),
                video=name,
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

    def generate_all(
        self, requests: Sequence[GenerationRequest], *, max_failures: int | None = None
    ) -> list[Generation | GenerationFailed]:
        for request in requests:
            end_left_behind(request.out_dir / LOCK_NAME)
        # Check all folders before emptying any: one generator may have worked on several.
        known = [self._known(request) for request in requests]
        left = [request for request, one in zip(requests, known, strict=True) if one is None]
        for request in left:
            self._begin(request)
        results = iter(self._batch.generate_all(left, max_failures=max_failures) if left else ())
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
    """Remove the lock, which has nothing more to tell."""
    (request.out_dir / LOCK_NAME).unlink(missing_ok=True)


def empty(folder: Path) -> None:
    """Remove all that is in a candidate's folder: the note last, by which what is left is known."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == NAME):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
