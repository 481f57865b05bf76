"""Files that are whole or absent."""

from __future__ import annotations

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, getincrementaldecoder
from pathlib import Path

from streams.errors import BadInput

_NEWLINE = b"\n"
_PIECE = 1 << 20
"""Bytes that are decoded at a time."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write beside, fsync, rename: a reader sees the old file or the new one, never half of one.

    ``mode`` is who may read and write it, less what the process's umask takes away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
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
    content = content.removeprefix(BOM_UTF8)
    if (at := _no_utf_8_at(content)) is not None:
        raise BadInput(
            f"{path}@line {_line_of(content, at)}: byte 0x{content[at]:02x} is no UTF-8, so it is a text in "
            "another encoding, such as Latin-1; expected UTF-8: save it so"
        )
    if (at := _marked_line(content)) is not None:
        raise BadInput(
            f"{path}@line {_line_of(content, at)}: begins with a byte order mark, as where files are joined; "
            "expected one at most, where the file begins: take the others out"
        )
    return content


def _line_of(content: bytes, at: int) -> int:
    return content.count(_NEWLINE, 0, at) + 1


def _no_utf_8_at(content: bytes) -> int | None:
    """Where it ceases to be UTF-8; None where it is all of that."""
    decoder = getincrementaldecoder("utf-8")()
    for begin in range(0, len(content) + 1, _PIECE):
        piece = content[begin : begin + _PIECE]
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(piece, final=begin + _PIECE > len(content))
        except UnicodeDecodeError as error:
            return begin - waiting + error.start
    return None


def _marked_line(content: bytes) -> int | None:
    """Where the first line begins that has a byte order mark in front."""
    if content.startswith(BOM_UTF8):
        return 0
    at = content.find(_NEWLINE + BOM_UTF8)
    return at + 1 if at >= 0 else None


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
