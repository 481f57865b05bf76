"""Writes one split of a dataset in a training's format.

- ``diffsynth``: DiffSynth-Studio's ``--dataset_base_path`` with ``metadata.csv`` (``video,prompt``);
- ``cosmos-predict2``: ``videos/ID.mp4`` and ``metas/ID.txt``, from which ``scripts.get_t5_embeddings`` makes
  ``t5_xxl/ID.pickle``;
- ``wow-dit-2b``: the same folders; ``cosmos_predict2/data/dataset_video.py`` reads ``videos`` and ``t5_xxl``
  by the same base name, and ``embed_prompts.py`` beside the splits makes the embeddings;
- ``wow-wan``: ``metadata.jsonl`` (``index``, ``video_path``, ``prompt``) beside ``videos/ID.mp4``, for WoW's
  ``train_wan_i2v.py`` with this folder as working folder; the index is the row's id, because WoW's reader
  skips an index that is 0 or empty;
- ``webdataset``: ``shard-000000.tar`` with ``ID.mp4``, ``ID.txt`` and ``ID.json``;
- ``hf``: Hugging Face's VideoFolder, ``metadata.parquet`` beside ``videos/ID.mp4``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from streams.fail_points import reach
from trainers.datasets.rows import PutVideo, Row, Stored, stored

DatasetFormat = Literal["diffsynth", "cosmos-predict2", "wow-dit-2b", "wow-wan", "webdataset", "hf"]
FORMATS: tuple[DatasetFormat, ...] = get_args(DatasetFormat)

LINES = "metadata.jsonl"
"""Metadata file of ``wow-wan``."""
WAN_FRAMES = 81
"""Frames that WoW's training of Wan takes from a video; a shorter one is padded with its last frame."""

_NO_TEXT = {
    *("", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na"),
    *("null", "nan", "none", "true", "false"),
}
"""Texts that pandas.read_csv takes for a missing value or a truth value, in any case."""


def takes(dataset_format: DatasetFormat, caption: str) -> bool:
    """Whether the format preserves this caption as a text."""
    if dataset_format != "diffsynth":
        return True
    try:
        float(caption.replace("_", "x"))
    except ValueError:
        return caption.casefold() not in _NO_TEXT
    return False


def write_split(
    dataset_format: DatasetFormat,
    folder: Path,
    rows: Sequence[Row],
    put: PutVideo,
    *,
    link: bool = False,
    shard_bytes: int = 1_000_000_000,
    on_row: Callable[[], None] = lambda: None,
) -> dict[str, Stored]:
    """Write the rows in order into the new ``folder``. Returns each row's id with the place of its video.

    ``put`` converts any other video to H.264 in MP4, because readers expect that in a ``.mp4``. ``link``
    makes hard links instead of copies, in formats with video files. A shard ends with the row that makes it
    larger than ``shard_bytes``. The same rows give the same bytes. Raises OSError.
    """
    folder.mkdir()
    if dataset_format == "webdataset":
        from trainers.datasets.shards import write_shards

        return write_shards(folder, rows, put, shard_bytes, on_row)
    places = _videos(folder, rows, put, link, on_row)
    if dataset_format == "diffsynth":
        (folder / "metadata.csv").write_bytes(_metadata(rows, places))
    elif dataset_format == "wow-wan":
        (folder / LINES).write_bytes(b"".join(_line(row, places[row.id]) for row in rows))
    elif dataset_format == "hf":
        from trainers.datasets.video_folder import metadata

        (folder / "metadata.parquet").write_bytes(metadata(rows, places))
    else:
        (folder / "metas").mkdir()
        for row in rows:
            (folder / "metas" / f"{row.id}.txt").write_bytes(row.caption.encode())
    if dataset_format == "wow-dit-2b":
        (folder / "t5_xxl").mkdir()
    return places


def _videos(
    folder: Path, rows: Sequence[Row], put: PutVideo, link: bool, on_row: Callable[[], None]
) -> dict[str, Stored]:
    (folder / "videos").mkdir()
    places = {}
    for row in rows:
        path = f"videos/{row.id}.mp4"
        converted = put(row.video, folder / path, link)
        places[row.id] = stored(folder, path, converted=converted)
        reach("dataset.row-written")
        on_row()
    return places


def _line(row: Row, at: Stored) -> bytes:
    # ASCII, because WoW reads it in its locale's encoding.
    line = {"index": row.id, "video_path": at.path, "prompt": row.caption}
    return json.dumps(line).encode() + b"\n"


def _metadata(rows: Sequence[Row], places: dict[str, Stored]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("video", "prompt"))
    writer.writerows((places[row.id].path, row.caption) for row in rows)
    return text.getvalue().encode()
