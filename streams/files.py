"""Reading files with clear errors, and writing them atomically."""

from __future__ import annotations

import errno
import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, getincrementaldecoder
from pathlib import Path

from streams.errors import BadInput

_NEWLINE = b"\n"
_PIECE = 1 << 20
"""Bytes decoded at a time."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a temporary file, fsync it and rename it: a reader sees the old file or the new one, whole.

    ``mode`` holds the permissions, before the process's umask.
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


def disk_is_full(error: BaseException) -> bool:
    """Whether a file could not be written for lack of room, on the disk or in the user's quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises BadInput."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def read_text(path: Path) -> bytes:
    """The content of a UTF-8 text file, without a leading byte order mark. Raises BadInput."""
    content = read_bytes(path)
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE, BOM_UTF32_BE)):
        raise BadInput(f"{path}: is text in UTF-16 or UTF-32; expected UTF-8: save it as UTF-8")
    content = content.removeprefix(BOM_UTF8)
    if (at := _no_utf_8_at(content)) is not None:
        raise BadInput(
            f"{path}@line {_line_of(content, at)}: byte 0x{content[at]:02x} is not UTF-8, so the text is in "
            "another encoding, such as Latin-1; expected UTF-8: save it as UTF-8"
        )
    if (at := _marked_line(content)) is not None:
        raise BadInput(
            f"{path}@line {_line_of(content, at)}: begins with a byte order mark, as in joined files; "
            "expected one at most, at the start of the file: remove the others"
        )
    return content


def _line_of(content: bytes, at: int) -> int:
    return content.count(_NEWLINE, 0, at) + 1


def _no_utf_8_at(content: bytes) -> int | None:
    """Offset of the first byte that is not UTF-8, or None."""
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
    """Offset of the first line that begins with a byte order mark, or None."""
    if content.startswith(BOM_UTF8):
        return 0
    at = content.find(_NEWLINE + BOM_UTF8)
    return at + 1 if at >= 0 else None


def plain(name: str) -> str:
    r"""The name of a file or an argument, with ``\udcff`` for the byte 0xff, which is not UTF-8.

    Python reads such bytes as lone surrogates, which cannot be written as text.
    """
    return name.encode(errors="backslashreplace").decode()


def inside(folder: Path, relative: str) -> Path | None:
    """``folder / relative`` with links followed; None if that is outside the folder."""
    try:
        path = (folder / relative).resolve()
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # the last for a link that leads in a circle
        return None


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; a new file's own fsync does not."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
