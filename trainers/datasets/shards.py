"""Tar files as WebDataset reads them: the files of a sample stand together and share their base name."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from trainers.datasets.rows import Row, Stored


def write_shards(
    folder: Path, rows: Sequence[Row], shard_bytes: int, on_row: Callable[[], None]
) -> dict[str, Stored]:
    """``shard-000000.tar``, …; a shard ends with the row that makes it larger than ``shard_bytes``.

    The headers carry neither a time nor an owner. Raises OSError.
    """
    places: dict[str, Stored] = {}
    waiting = list(rows)[::-1]
    number = 0
    while waiting:
        name = f"shard-{number:06d}.tar"
        with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as shard:
            while waiting and shard.offset <= shard_bytes:
                row = waiting.pop()
                video = row.video.read_bytes()
                _add(shard, f"{row.id}.mp4", video)
                _add(shard, f"{row.id}.txt", row.caption.encode())
                _add(shard, f"{row.id}.json", orjson.dumps(row.record, option=orjson.OPT_SORT_KEYS))
                digest = hashlib.sha256(video).hexdigest()
                places[row.id] = Stored(path=f"{name}/{row.id}.mp4", sha256=digest, n_bytes=len(video))
                on_row()
        number += 1
    return places


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)  # time and owner 0, mode 644
    header.size = len(content)
    shard.addfile(header, io.BytesIO(content))
