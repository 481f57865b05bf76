"""A world model that runs any program: it gets the prompt and leaves a video."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from runner.command_template import CommandTemplate
from runner.interfaces import Generation, GenerationFailed, GenerationRequest
from runner.worlds.group_lock import has_ended_well, witnessed
from runner.worlds.process import (
    LOCK_NAME,
    LOG_NAME,
    ProcessGroups,
    interruptibly,
    log_tail,
    run_to_end,
)
from streams.errors import BadInput
from streams.files import read_text
from streams.messages.fitting import fitting_context
from streams.messages.refusals import check_names

VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif"})
_PREVIEW = re.compile(r"preview|thumb", re.IGNORECASE)
"""Parts of file names that mark a preview beside the video, meant for a quick look."""
CONTEXT_NAME = "context.json"
"""Optional file about the video, for reward models to weigh: ``{"generator": "…", "cost": 1.5}``."""
_PLACES = ("prompt", "out_dir", "seed", "image")
_REQUIRED = ("prompt", "out_dir")

# Identifies a file's state: the same path with another value was rewritten.
_Stamp = tuple[int, int]


class SubprocessWorld:
    """Runs ``command`` once per video and takes the newest video file that it leaves in ``{out_dir}``.

    A GIF, or a file named as preview or thumbnail, is taken only if there is no other.

    ``command`` is a template such as ``python gen.py --prompt {prompt} --out {out_dir} --seed {seed}``; see
    ``CommandTemplate``. ``{image}`` stands for the first frame, ``image``; ``fixed`` has values of more,
    optional places. After ``timeout_s`` seconds the program and its children are killed.

    Raises BadInput for an invalid template, for a time-out that is not positive, and if the command asks for
    an image and there is none.
    """

    name = "subprocess"

    def __init__(
        self,
        command: str,
        timeout_s: float,
        image: Path | None = None,
        *,
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        if not timeout_s > 0:
            raise BadInput(f"the generator's time-out is {timeout_s} s; it must be above 0")
        self._fixed = dict(fixed or {})
        self._template = CommandTemplate(
            command, whose="the generator", places=(*_PLACES, *self._fixed), required=_REQUIRED
        )
        if self.takes_image and image is None:
            raise BadInput("the generator's command has {image}, and no image is given; give --image")
        self._image = str(image.resolve()) if image is not None else ""
        self._timeout_s = timeout_s

    @property
    def takes_image(self) -> bool:
        """Whether the command has a place for the first frame."""
        return "image" in self._template.used

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        """Run the program, with its output in ``generator.log`` in ``out_dir``.

        Raises GenerationFailed, with the end of that log, if the program cannot start, fails, runs out of
        time or leaves no new video.
        """
        folder = out_dir.resolve()
        values = {
            "prompt": prompt,
            "out_dir": str(folder),
            "seed": str(seed),
            "image": self._image,
            **self._fixed,
        }
        arguments = self._template.filled(values)
        before = _videos(folder)
        log, lock = folder / LOG_NAME, folder / LOCK_NAME
        if lock.exists():
            arguments = witnessed(arguments, lock)
        groups = ProcessGroups()
        ending = interruptibly(
            groups,
            lambda: run_to_end(arguments, log, timeout_s=self._timeout_s, groups=groups, locks=[lock]),
        )
        if ending:
            raise GenerationFailed(f"the generator {ending}; {log_tail(log)}")
        after = _videos(folder)
        fresh = [path for path, stamp in after.items() if before.get(path) != stamp]
        if not fresh:
            raise GenerationFailed(f"the generator left no video in {out_dir}; {log_tail(log)}")
        return _newest(fresh, after, out_dir)

    def recovered(self, request: GenerationRequest) -> Generation | None:
        """Like ``generate``, if the program succeeded although this process was killed.

        Otherwise its video does not count, even if complete: the program may not have been done with it.
        """
        folder = request.out_dir.resolve()
        videos = _videos(folder)
        if not (videos and has_ended_well(folder / LOCK_NAME)):
            return None
        return _newest(videos, videos, request.out_dir)


def _newest(among: Iterable[Path], stamps: Mapping[Path, _Stamp], out_dir: Path) -> Generation:
    folder = out_dir.resolve()
    newest = max(among, key=lambda path: (not _is_preview(path), stamps[path], path))
    context, said = _context(folder / CONTEXT_NAME)
    return Generation(
        video=out_dir / newest.relative_to(folder),
        meta={"generator_log": LOG_NAME, **said},
        context=context,
    )


def _is_preview(path: Path) -> bool:
    return path.suffix.lower() == ".gif" or _PREVIEW.search(path.stem) is not None


def _context(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What fits of the generator's data about its video, and a note on any error, which costs no video."""
    if not path.is_file():
        return {}, {}
    try:
        raw = read_text(path)
        check_names(raw, CONTEXT_NAME)
        context = orjson.loads(raw)
    except (BadInput, orjson.JSONDecodeError) as error:
        return {}, {"context_error": f"{CONTEXT_NAME} cannot be read: {error}"}
    if not isinstance(context, dict):
        return {}, {
            "context_error": f"{CONTEXT_NAME} does not hold an object; expected texts and numbers by name"
        }
    fitting, why = fitting_context(context)
    return fitting, {"context_error": f"{CONTEXT_NAME}: {why}"} if why else {}


def _videos(folder: Path) -> dict[Path, _Stamp]:
    """The video files anywhere below a folder; links that lead out of it do not count."""
    stamps: dict[Path, _Stamp] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and path.resolve().is_relative_to(folder):
            stat = path.stat()
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
    return stamps
