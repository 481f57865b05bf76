"""Any generator that is a program: it is given the prompt, and leaves a video behind."""

from __future__ import annotations

import shlex
import shutil
import string
from pathlib import Path
from typing import Any

import orjson

from runner.interfaces import Generation, GenerationFailed
from runner.worlds.process import LOG_NAME, ProcessGroups, interruptibly, log_tail, run_to_end
from streams.errors import BadInput

VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif"})
CONTEXT_NAME = "context.json"
"""What a generator may say of its video, for reward models to weigh: ``{"generator": "…", "cost": 1.5}``."""
_PLACEHOLDERS = ("prompt", "out_dir", "seed")
_REQUIRED = ("prompt", "out_dir")

# A file as it was: the same path with another of these was written anew.
_Stamp = tuple[int, int]


class SubprocessWorld:
    """Runs ``command`` once a video and takes the newest video file it leaves in ``{out_dir}``.

    ``command`` is a template such as ``python gen.py --prompt {prompt} --out {out_dir} --seed {seed}``. It is
    split into arguments first and filled in afterwards, and no shell sees it: whatever a prompt holds arrives
    as part of one argument. ``{{`` and ``}}`` stand for braces. The program has ``timeout_s`` seconds; it and
    all it started are then killed.

    Raises BadInput for a command that cannot be split, has another placeholder, lacks ``{prompt}`` or
    ``{out_dir}``, or names a program that is not there, and for a time-out that is not positive.
    """

    name = "subprocess"

    def __init__(self, command: str, timeout_s: float) -> None:
        if not timeout_s > 0:
            raise BadInput(f"the generator's time-out is {timeout_s} s; it must be above 0")
        self._template = _parsed(command)
        self._timeout_s = timeout_s

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        """Run the program; what it prints goes to ``generator.log`` in ``out_dir``.

        Raises GenerationFailed, with the end of that log, where the program cannot be started, fails, runs
        out of time or leaves no new video.
        """
        folder = out_dir.resolve()
        values = {"prompt": prompt, "out_dir": str(folder), "seed": str(seed)}
        arguments = [argument.format_map(values) for argument in self._template]
        before = _videos(folder)
        log = folder / LOG_NAME
        groups = ProcessGroups()
        ending = interruptibly(
            groups, lambda: run_to_end(arguments, log, timeout_s=self._timeout_s, groups=groups)
        )
        if ending:
            raise GenerationFailed(f"the generator {ending}; {log_tail(log)}")
        after = _videos(folder)
        fresh = [path for path, stamp in after.items() if before.get(path) != stamp]
        if not fresh:
            raise GenerationFailed(f"the generator left no video in {out_dir}; {log_tail(log)}")
        newest = max(fresh, key=lambda path: (after[path], path))
        context, said = _context(folder / CONTEXT_NAME)
        return Generation(
            video=out_dir / newest.relative_to(folder),
            meta={"generator_log": LOG_NAME, **said},
            context=context,
        )


def _parsed(command: str) -> tuple[str, ...]:
    try:
        arguments = tuple(shlex.split(command))
        parts = [part for argument in arguments for part in string.Formatter().parse(argument)]
    except ValueError as error:
        raise BadInput(f"the generator's command cannot be read: {error}: {command}") from None
    used = {name for _, name, _, _ in parts if name is not None}
    allowed = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
    for _, name, spec, conversion in parts:
        if name is not None and (name not in _PLACEHOLDERS or spec or conversion):
            raise BadInput(
                f"the generator's command has {{{name}}}; it may have {allowed} ({{{{ for a brace)"
            )
    for name in _REQUIRED:
        if name not in used:
            raise BadInput(f"the generator's command lacks {{{name}}}; it may have {allowed}: {command}")
    program = arguments[0]
    if "{" not in program and shutil.which(program) is None:
        raise BadInput(f"the generator {program!r} is not a program that can be run; check its path")
    return arguments


def _context(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the generator says of its video, and what there is to say of that: a bad one costs no video."""
    if not path.is_file():
        return {}, {}
    try:
        context = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        return {}, {"context_error": f"{CONTEXT_NAME} cannot be read: {error}"}
    if not isinstance(context, dict):
        return {}, {"context_error": f"{CONTEXT_NAME} holds no object; expected texts and numbers by name"}
    return context, {}


def _videos(folder: Path) -> dict[Path, _Stamp]:
    """The video files anywhere below a folder that really lie there: a link out of it is none."""
    stamps: dict[Path, _Stamp] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and path.resolve().is_relative_to(folder):
            stat = path.stat()
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
    return stamps
