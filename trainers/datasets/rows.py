"""The rows of a dataset before and after they are written, in any format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PutVideo = Callable[[Path, Path, bool], bool]
"""Puts a video (the first path) at a ``.mp4`` path (the second), by a hard link if requested and possible.
Returns whether it was converted. Raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A video and its caption; ``record`` is its provenance as JSON."""

    id: str
    caption: str
    video: Path
    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A row's video as stored; ``path`` is relative to the folder of its split."""

    path: str
    sha256: str
    n_bytes: int
    converted: bool
    """The file differs from the run's, which was not H.264 in MP4."""


def stored(folder: Path, path: str, *, converted: bool) -> Stored:
    """Describes a file that is in place. Raises OSError."""
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stored(path=path, sha256=digest, n_bytes=(folder / path).stat().st_size, converted=converted)
