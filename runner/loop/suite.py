"""A file of prompts with first frames, as in WoW's benchmark, with one run for each.

A line is a JSON object with ``index`` and ``generated_description``, ``image`` if the world model needs one,
and optionally ``original_lang``. Like WoW's own scripts, this numbers videos by the index, and replaces a
missing image by one of the same name with another extension (in the order of EXTENSIONS).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import orjson

from runner.interfaces import GenerationFailed
from runner.loop.refiner import PromptState
from runner.video import read_first_frame
from streams.errors import BadInput, counted
from streams.files import read_text
from streams.messages.limits import MAX_COUNT
from streams.messages.refusals import check_names, in_words, raise_not_json, shown

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tiff")
_MOST_NAMED = 5
_MOST_DIGITS = 100
"""Most digits of an index, leading zeros included."""
_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTask:
    """One line of the file."""

    index: int
    prompt: str
    """The field ``generated_description``."""
    image: Path | None
    """The first frame: the path in the file, if any, until ``with_images`` has found the image."""
    original_lang: str = ""

    def run_id(self, suite: str) -> str:
        """Id of the task's run, always the same for the same suite."""
        return f"{suite}-{self.index:08d}"

    def seed(self, seed: int) -> int:
        """Seed of the task's run, 31 bits, derived from the suite's."""
        return int(np.random.SeedSequence([seed, self.index]).generate_state(1)[0] >> 1)


@dataclass(frozen=True, slots=True)
class Prompts:
    """A file of prompts, in the file's order."""

    path: Path
    sha256: str
    tasks: tuple[SuiteTask, ...]

    def task_id(self, task: SuiteTask) -> str:
        """Id of the task, the same in any suite for the same line of the same file."""
        return f"{self.sha256[:8]}-{task.index:08d}"


@dataclass(frozen=True, slots=True)
class _Line:
    index: int | str
    generated_description: str
    image: str | None = None
    original_lang: str | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` of ``of``, counted from 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, given: str) -> Shard:
        """Parses ``2/8``. Raises BadInput."""
        match = _SHARD.fullmatch(given)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise BadInput(f"the shard is {given!r}; expected I/N with I from 1 to N, such as 2/8")
        return cls(int(match[1]), int(match[2]))

    def take(self, tasks: Sequence[SuiteTask]) -> tuple[SuiteTask, ...]:
        """Every N-th task; the shards together have each task once."""
        return tuple(tasks[self.number - 1 :: self.of])


def read_prompts(path: Path) -> Prompts:
    """Raises BadInput naming the line with a damaged or missing field, a repeated index, or a long prompt."""
    raw = read_text(path)
    tasks: dict[int, SuiteTask] = {}
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        source = f"{path}@line {number}"
        task = _task(line, source)
        if task.index in tasks:
            raise BadInput(f"{source}: index {task.index} appears twice; expected each once")
        tasks[task.index] = task
    if not tasks:
        raise BadInput(f"{path}: the file is empty; expected one prompt a line")
    return Prompts(path, hashlib.sha256(raw).hexdigest(), tuple(tasks.values()))


def find_image(image: Path, folders: Iterable[Path]) -> Path | None:
    """The image in the first folder that has it; else the first one with only another extension."""
    paths = [os.path.abspath(folder / image) for folder in folders]
    others = [os.path.splitext(path)[0] + extension for path in paths for extension in EXTENSIONS]
    return next((Path(path) for path in (*paths, *others) if os.path.isfile(path)), None)


def with_images(prompts: Prompts, folders: Sequence[Path]) -> Prompts:
    """The prompts with the path of each image as found; each image is opened.

    Raises BadInput naming the images that are missing or cannot be decoded.
    """
    found, missing, unreadable = [], [], []
    for task in prompts.tasks:
        if task.image is None:
            raise BadInput(
                f"{prompts.path}: index {task.index} has no image, and the world model begins with one; give "
                "its path as image"
            )
        if (image := find_image(task.image, folders)) is not None:
            found.append(replace(task, image=image))
            try:
                read_first_frame(image)
            except GenerationFailed as error:
                unreadable.append(f"index {task.index}: {error}")
        else:
            missing.append(task)
    if missing:
        named = ", ".join(f"{task.image} (index {task.index})" for task in missing[:_MOST_NAMED])
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        looked = ", ".join(map(str, dict.fromkeys(folder.absolute() for folder in folders)))
        raise BadInput(
            f"{prompts.path}: {len(missing):,} of {counted(len(prompts.tasks), 'image')} missing, also with "
            f"another extension: {named}{more}; looked in {looked}: give their folder with --images"
        )
    if unreadable:
        named = "; ".join(unreadable[:_MOST_NAMED])
        raise BadInput(
            f"{prompts.path}: {len(unreadable):,} of {counted(len(prompts.tasks), 'image')} unusable: "
            f"{named}; replace them, or remove their prompts"
        )
    return replace(prompts, tasks=tuple(found))


def _task(line: bytes, source: str) -> SuiteTask:
    check_names(line, source)
    try:
        obj = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise_not_json(line, source, error)

    def convert() -> _Line:
        return msgspec.convert(obj, _Line)

    try:
        said = convert()
    except msgspec.ValidationError as error:
        raise BadInput(
            f"{source}: {in_words(error, obj, convert, _Line)}; expected a JSON object with index, "
            "generated_description and maybe image"
        ) from None
    # WoW's scripts also accept an index given as text.
    index = str(said.index)
    fits = index.isdecimal() and len(index) <= _MOST_DIGITS and int(index) <= MAX_COUNT
    if not fits or said.image == "" or "\0" in (said.image or ""):
        raise BadInput(
            f"{source}: index is {shown(said.index)} and image is {shown(said.image)}; expected a whole "
            f"number from 0 to {MAX_COUNT} and the path of an image, or null"
        )
    try:
        PromptState(said.generated_description)
    except BadInput as error:
        raise BadInput(f"{source}: generated_description: {error}") from None
    return SuiteTask(
        index=int(index),
        prompt=said.generated_description,
        image=Path(said.image) if said.image is not None else None,
        original_lang=said.original_lang or "",
    )
