"""The rows of a dataset before and after they are written, whatever its format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def stored(folder: Path, path: str) -> Stored:
    """A file that is in place. Raises OSError."""
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stored(path=path, sha256=digest, n_bytes=(folder / path).stat().st_size)
