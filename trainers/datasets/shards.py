"""Tar files for WebDataset: the files of a sample are adjacent and share their base name."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from trainers.datasets.rows import PutVideo, Row, Stored

RECORD = {
    **dict.fromkeys(("id", "split", "task", "task_id", "run_id"), "string"),
    **dict.fromkeys(("iteration", "seed", "generation_seed"), "int64"),
    **dict.fromkeys(("context", "candidate_context", "critics"), "string"),
    **dict.fromkeys(("goal", "prompt"), "string"),
    **dict.fromkeys(("reward", "probability", "confidence", "critics_mean", "outcome", "fps"), "float64"),
    **dict.fromkeys(("snapshot_version", "run_snapshot_version", "frames"), "int64"),
}
"""The fields of a sample's JSON and their types, as the dataset's card declares them to ``datasets``, which
would otherwise infer the types from the first samples. So objects are stored as JSON texts, and unknown
fields are left out."""
_KINDS: Mapping[str, type] = {"string": str, "int64": int, "float64": float}
_LARGEST_INT = 2**63


def write_shards(
    folder: Path, rows: Sequence[Row], put: PutVideo, shard_bytes: int, on_row: Callable[[], None]
) -> dict[str, Stored]:
    """``shard-000000.tar``, …; a shard ends with the row that makes it larger than ``shard_bytes``.

    The headers have neither time nor owner. Raises OSError.
    """
    places: dict[str, Stored] = {}
    waiting, beside = list(rows)[::-1], folder / "next.mp4"
    number = 0
    while waiting:
        name = f"shard-{number:06d}.tar"
        with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as shard:
            while waiting and shard.offset <= shard_bytes:
                row = waiting.pop()
                converted = put(row.video, beside, True)
                video = beside.read_bytes()
                beside.unlink()
                _add(shard, f"{row.id}.mp4", video)
                _add(shard, f"{row.id}.txt", row.caption.encode())
                _add(shard, f"{row.id}.json", orjson.dumps(_typed(row.record), option=orjson.OPT_SORT_KEYS))
                digest = hashlib.sha256(video).hexdigest()
                places[row.id] = Stored(
                    path=f"{name}/{row.id}.mp4", sha256=digest, n_bytes=len(video), converted=converted
                )
                on_row()
        number += 1
    return places


def _typed(record: Mapping[str, Any]) -> dict[str, str | int | float]:
    texts = {
        name: orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if isinstance(value, dict) else value
        for name, value in record.items()
    }
    return {name: value for name, value in texts.items() if _fits(value, RECORD[name])}


def _fits(value: object, kind: str) -> bool:
    return type(value) is _KINDS[kind] and not (isinstance(value, int) and abs(value) >= _LARGEST_INT)


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)  # time and owner 0, mode 644
    header.size = len(content)
    shard.addfile(header, io.BytesIO(content))
