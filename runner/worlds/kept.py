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

Once the generation has ended, its ``generation.json`` lists the generator's files, and later those of
critics. Any other is somebody's own: a folder that holds one is not emptied.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from runner.interfaces import (
    BatchWorldModel,
    FailuresInARow,
    Generation,
    GenerationFailed,
    GenerationRequest,
    WorldModel,
)
from runner.worlds.group_lock import end_left_behind
from runner.worlds.process import CRITIC_LOCKS, LOCK_NAME, LOG_NAME
from streams.errors import BadInput
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
    files: tuple[str, ...] | None = None
    """What the generator and critics left in the folder; null until the generator ended, maybe by failing."""
    bytes: int = 0
    sha256: str = ""
    outcome: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Recovering(WorldModel, Protocol):
    """A world model that can recognise its own finished video if that was never reported."""

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
            self._give_up(request)
            raise
        return self._keep(request, made)

    def _known(self, request: GenerationRequest) -> Generation | None:
        """The generation in the folder, if it matches the request and its video is complete."""
        noted = _note_in(request.out_dir)
        if noted is None:
            return None
        asked_for = (noted.schema, noted.world_model, noted.prompt, noted.seed)
        if asked_for != (GenerationRecord.SCHEMA, self.name, request.prompt, request.seed):
            return None
        if noted.video is not None:
            return _finished(request, noted.video, noted)
        made = self._world.recovered(request) if isinstance(self._world, Recovering) else None
        return self._keep(request, made) if made is not None else None

    def _begin(self, request: GenerationRequest) -> None:
        """Record on disk what is needed to recognise the video, before it is begun.

        Raises BadInput if somebody's own file is in the folder.
        """
        if foreign := files_of_others(request.out_dir):
            raise BadInput(
                f"{foreign[0]}: no run has written it, and the video beside it has to be made again in an "
                "empty folder; move it"
            )
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
                files=_files_in(request.out_dir),
                outcome=made.outcome,
                meta=made.meta,
                context=made.context,
            )
            write_atomically(request.out_dir / NAME, msgspec.json.encode(kept))
            reach("world.kept")
        _unlock(request)
        return made

    def _give_up(self, request: GenerationRequest) -> None:
        _unlock(request)
        kept = replace(self._noted(request), files=_files_in(request.out_dir))
        with contextlib.suppress(OSError):  # on a full disk, which may be why it failed
            write_atomically(request.out_dir / NAME, msgspec.json.encode(kept))

    def _noted(self, request: GenerationRequest) -> GenerationRecord:
        return GenerationRecord(world_model=self.name, prompt=request.prompt, seed=request.seed)


class _KeepingBatch(_Keeping):
    def __init__(self, world: BatchWorldModel) -> None:
        super().__init__(world)
        self._batch = world

    def generate_all(
        self, requests: Sequence[GenerationRequest], *, failures: FailuresInARow | None = None
    ) -> list[Generation | GenerationFailed]:
        for request in requests:
            end_left_behind(request.out_dir / LOCK_NAME)
        # Check all folders before emptying any: one generator may have worked on several.
        known = [self._known(request) for request in requests]
        left = [request for request, one in zip(requests, known, strict=True) if one is None]
        for request in left:
            self._begin(request)
        results = iter(self._batch.generate_all(left, failures=failures) if left else ())
        return [
            one if one is not None else self._kept(request, next(results))
            for request, one in zip(requests, known, strict=True)
        ]

    def _kept(
        self, request: GenerationRequest, made: Generation | GenerationFailed
    ) -> Generation | GenerationFailed:
        if isinstance(made, Generation):
            return self._keep(request, made)
        self._give_up(request)
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
    """Remove the lock, which is no longer needed."""
    (request.out_dir / LOCK_NAME).unlink(missing_ok=True)


def end_programs(folder: Path) -> None:
    """End the generator and critics that a killed process left at work on a candidate. Raises BadInput."""
    for lock in (folder / LOCK_NAME, *sorted(folder.glob(CRITIC_LOCKS))):
        end_left_behind(lock)


def files_of_others(folder: Path) -> list[Path]:
    """The files in a candidate's folder that neither its generator nor critics nor this program left there.

    Empty if the end of the generation was not noted.
    """
    noted = _note_in(folder)
    if noted is None or noted.files is None:
        return []
    own = {NAME, LOCK_NAME, LOG_NAME, *noted.files, *(lock.name for lock in folder.glob(CRITIC_LOCKS))}
    return [folder / name for name in _files_in(folder) if name not in own]


@contextmanager
def noting_files(folder: Path) -> Iterator[None]:
    """Note what comes into a candidate's folder meanwhile, such as what critics leave beside the video.

    Raises OSError.
    """
    before = files_of_others(folder)
    try:
        yield
    finally:
        noted = _note_in(folder)
        new = [path for path in files_of_others(folder) if path not in before]
        if noted is not None and noted.files is not None and new:
            names = (path.relative_to(folder).as_posix() for path in new)
            kept = replace(noted, files=tuple(sorted({*noted.files, *names})))
            write_atomically(folder / NAME, msgspec.json.encode(kept))


def empty(folder: Path) -> None:
    """Remove everything in a candidate's folder; the note goes last, because it lists what is left.

    Ends the programs that hold locks there. Raises BadInput if one of them does not end.
    """
    end_programs(folder)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == NAME):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _note_in(folder: Path) -> GenerationRecord | None:
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=GenerationRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _files_in(folder: Path) -> tuple[str, ...]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return tuple(sorted(path.relative_to(folder).as_posix() for path in paths))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
