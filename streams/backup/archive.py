"""The backup file: blocks of messages, then a table of contents, then a checksum of everything.

::

    tribrain-backup/1 LF
    block …      length (4 bytes, big-endian), then a zstd frame of MessagePack: messages of one partition
    block        in the same format: the table of contents
    00000000     instead of a length
    SHA-256      of everything before it, 32 bytes

The table of contents comes last, because it is known only then. A file is checked as a whole before any of it
is used; a truncated or modified file is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import zstandard

from streams.errors import BadInput
from streams.files import sync_directory
from streams.messages.stored import LogRecord

_NAME = b"tribrain-backup/"
_FORMAT = 1
_MAGIC = b"%s%d\n" % (_NAME, _FORMAT)
_LENGTH_BYTES = 4
_DIGEST_BYTES = hashlib.sha256().digest_size
_LEVEL = 3
_PIECE = 1 << 20
"""Bytes hashed at a time."""
_MAX_BLOCK_BYTES = 1 << 30
"""Limit of an unpacked block: many times the size of one answer of a broker."""


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One partition in a backup."""

    end: int
    """The offset after its last message and transaction marker."""
    records: int
    """Number of messages."""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic in a backup."""

    topic_id: str
    """Kafka's id of the topic, which snapshots refer to."""
    configs: dict[str, str]
    """Settings of this topic that differ from the broker's defaults."""
    partitions: tuple[Partition, ...]


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The committed offset of a consumer group in a partition."""

    topic: str
    partition: int
    offset: int
    metadata: str


class Contents(msgspec.Struct, frozen=True, kw_only=True, tag="contents"):
    """The table of contents of a backup."""

    created_ms: int
    """When the backup was started, in ms since 1970-01-01 UTC. It contains everything on the topics by
    then."""
    topic_prefix: str
    topics: dict[str, Topic]
    groups: dict[str, tuple[Committed, ...]]

    @property
    def records(self) -> int:
        return sum(partition.records for topic in self.topics.values() for partition in topic.partitions)


class Block(msgspec.Struct, frozen=True, kw_only=True, tag="records"):
    """Some messages of one partition, in order."""

    topic: str
    partition: int
    records: tuple[LogRecord, ...]


_decoder = msgspec.msgpack.Decoder(Block | Contents)


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that is on disk."""

    path: Path
    size: int
    """Size of the file in bytes."""
    sha256: str


class ArchiveWriter:
    """Writes blocks to a temporary file; ``finish`` renames it to ``path``. See ``new_archive``."""

    def __init__(self, path: Path, file: IO[bytes], beside: Path) -> None:
        self._path, self._file, self._beside = path, file, beside
        self._digest = hashlib.sha256()
        self._size = 0
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._put(_MAGIC)

    def add(self, block: Block) -> None:
        """Append a block. Raises OSError."""
        self._put_block(block)

    def finish(self, contents: Contents) -> Written:
        """Complete the file and put it in place; until then the old file stays. Raises OSError."""
        self._put_block(contents)
        self._put(bytes(_LENGTH_BYTES))
        sha256 = self._digest.digest()
        self._put(sha256)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._beside.replace(self._path)
        sync_directory(self._path.parent)
        return Written(path=self._path, size=self._size, sha256=sha256.hex())

    def _put_block(self, block: Block | Contents) -> None:
        frame = self._compressor.compress(msgspec.msgpack.encode(block))
        self._put(len(frame).to_bytes(_LENGTH_BYTES, "big"))
        self._put(frame)

    def _put(self, content: bytes) -> None:
        self._digest.update(content)
        self._file.write(content)
        self._size += len(content)


@contextmanager
def new_archive(path: Path) -> Iterator[ArchiveWriter]:
    """A writer for ``path``; an existing file stays until the new one is complete.

    Raises OSError, and BadInput if another process writes to the same path, or the path is a folder.
    """
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; give the name of a file, such as {path / 'tribrain.backup'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.unfinished")
    with beside.open("ab") as file:
        if not _holds(file, beside):
            raise BadInput(f"{path}: another backup is being written to it; wait for it or give another name")
        # Drop what a killed process has left.
        file.truncate(0)
        try:
            yield ArchiveWriter(path, file, beside)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _holds(file: IO[bytes], path: Path) -> bool:
    """Whether this process now holds the lock on the file, and the file is still at the path."""
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


@dataclass(frozen=True, slots=True)
class Archive:
    """A backup that was found to be complete."""

    path: Path
    sha256: str
    contents: Contents

    def blocks(self) -> Iterator[Block]:
        """All messages; those of a partition in order. Raises BadInput if the file was modified since."""
        with _opened(self.path) as file:
            file.seek(len(_MAGIC))
            while (block := _read_block(self.path, file)) is not None:
                if isinstance(block, Block):
                    yield block


def open_archive(path: Path) -> Archive:
    """Read the whole file and verify its checksum.

    Raises BadInput if it is not a backup, has another format, or was truncated or modified.
    """
    with _opened(path) as file:
        _check_format(path, file)
        sha256 = _check_digest(path, file)
        file.seek(len(_MAGIC))
        last: Block | Contents | None = None
        while (block := _read_block(path, file)) is not None:
            last = block
    if not isinstance(last, Contents):
        raise _damaged(path, "it has no table of contents")
    return Archive(path, sha256, last)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def _check_format(path: Path, file: IO[bytes]) -> None:
    magic = file.read(len(_MAGIC))
    if magic == _MAGIC:
        return
    if magic and _MAGIC.startswith(magic):
        raise _damaged(path, f"it has {len(magic)} bytes")
    if not magic.startswith(_NAME):
        raise BadInput(
            f"{path}: is not a backup of TriBrain; expected a file that `tribrain log backup` wrote"
        )
    number = (magic + file.read(8)).removeprefix(_NAME).partition(b"\n")[0].decode(errors="replace")
    raise BadInput(
        f"{path}: is a backup of format {number!r}; this TriBrain reads format {_FORMAT}: restore it with "
        "the version that wrote it"
    )


def _check_digest(path: Path, file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    if size < len(_MAGIC) + _LENGTH_BYTES + _DIGEST_BYTES:
        raise _damaged(path, f"it has {size} bytes")
    file.seek(0)
    digest = hashlib.sha256()
    left = size - _DIGEST_BYTES
    while left and (piece := file.read(min(_PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    stated = file.read()
    if stated != digest.digest():
        raise _damaged(path, f"its checksum is {digest.hexdigest()}, but it ends with {stated.hex()}")
    return digest.hexdigest()


def _read_block(path: Path, file: IO[bytes]) -> Block | Contents | None:
    """The next block; None at the end."""
    length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
    if not length:
        return None
    try:
        raw = zstandard.ZstdDecompressor().decompress(file.read(length), max_output_size=_MAX_BLOCK_BYTES)
        block: Block | Contents = _decoder.decode(raw)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise _damaged(path, f"a block cannot be read: {error}") from None
    return block


def _damaged(path: Path, how: str) -> BadInput:
    return BadInput(f"{path}: this backup is damaged or truncated: {how}; use another one")
