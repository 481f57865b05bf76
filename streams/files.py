"""Files that are whole or absent."""

from __future__ import annotations

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE
from pathlib import Path

from streams.errors import BadInput


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside, fsync, rename: a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises BadInput."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def read_text(path: Path) -> bytes:
    """The content of a text in UTF-8, without the byte order mark that it may begin with. Raises BadInput."""
    content = read_bytes(path)
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE, BOM_UTF32_BE)):
        raise BadInput(f"{path}: is a text in UTF-16 or UTF-32; expected UTF-8: save it so")
    return content.removeprefix(BOM_UTF8)


def inside(folder: Path, relative: str) -> Path | None:
    """The path of what a file of ``folder`` names, links followed; None where it lies outside the folder."""
    try:
        path = (folder / relative).resolve()
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):
        return None


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a new file's own fsync does not."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
