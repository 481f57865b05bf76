"""The rows of a dataset before and after they are written, whatever its format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PutVideo = Callable[[Path, Path, bool], bool]
"""Puts a video (the first path) where a ``.mp4`` is to lie (the second), by a hard link if so asked and
possible; whether it had to be made one. Raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A video and its caption; ``record`` is its provenance, which JSON can hold."""

    id: str
    caption: str
    video: Path
    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where the video of a row lies, seen from the folder of its split."""

    path: str
    sha256: str
    n_bytes: int
    converted: bool
    """It is another file than the run's, which was no H.264 in MP4."""


def stored(folder: Path, path: str, *, converted: bool) -> Stored:
    """A file that is in place. Raises OSError."""
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stored(path=path, sha256=digest, n_bytes=(folder / path).stat().st_size, converted=converted)
