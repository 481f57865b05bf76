"""Fine-tunes the simulated world on a dataset, as a training command would do with a real one.

``python -m runner.worlds.train_simulated --dataset D --runs R --base B --out O`` reads the manifest of the
dataset D (from ``tribrain data build`` or ``data finetune``). It finds each video's hidden failures in the
``truth.json`` that ``run simulated --write-truth`` left beside it in the runs R, and writes the resulting
checkpoint into the folder O. B is the previous checkpoint's folder; if empty, training starts from the
original world. Only this training reads the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import orjson

from runner.worlds.scene import Failures
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.simulated_checkpoint import (
    CHECKPOINT,
    Surprise,
    WorldCheckpoint,
    encode_checkpoint,
    finetuned,
    read_checkpoint,
)
from streams.errors import BadInput
from streams.files import read_bytes, write_atomically
from trainers.datasets.build import MANIFEST
from trainers.datasets.samples import folders_by_run, read_runs, samples_of

_TRUTH = "truth.json"


def train(dataset: Path, runs: Path, base: WorldCheckpoint) -> WorldCheckpoint:
    """The checkpoint after training ``base`` on the dataset's training split. Raises BadInput."""
    rows = list(_rows(dataset))
    folders = folders_by_run(runs)
    # Only these runs: others may still be running.
    shown = {folders[row["run_id"]] for row in rows if row["run_id"] in folders}
    samples, _ = samples_of(read_runs(shown))
    videos = {sample.id: sample.video for sample in samples}
    return finetuned(base, [_surprise(row, videos, base) for row in rows])


def _rows(dataset: Path) -> Iterator[dict[str, Any]]:
    for line in read_bytes(dataset / MANIFEST).splitlines():
        row = orjson.loads(line)
        if row["split"] == "train":
            yield row


def _surprise(row: Mapping[str, Any], videos: Mapping[str, Path], base: WorldCheckpoint) -> Surprise:
    video = videos.get(row["id"])
    if video is None:
        raise BadInput(f"video {row['id']} of run {row['run_id']} is not in the given runs; give its folder")
    world = SimulatedWorld(row["goal"], row["seed"], checkpoint=base)
    return world.surprise(_truth(video.parent / _TRUTH), row["caption"])


def _truth(path: Path) -> Failures:
    try:
        return msgspec.convert(orjson.loads(read_bytes(path))["failures"], Failures)
    except (BadInput, orjson.JSONDecodeError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise BadInput(f"{path}: no failures found ({error}); make the run with --write-truth") from None


@click.command(
    epilog="Example: python -m runner.worlds.train_simulated --dataset dataset --runs runs --base '' --out c1"
)
@click.option("--dataset", required=True, type=click.Path(path_type=Path), help="Folder of a dataset.")
@click.option(
    "--runs", required=True, type=click.Path(path_type=Path), help="Folder that holds the runs' folders."
)
@click.option("--base", default="", help="Folder of the previous checkpoint; empty: the original world.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the new checkpoint.")
def main(dataset: Path, runs: Path, base: str, out: Path) -> None:
    """Fine-tune the simulated world on a dataset of its own videos."""
    try:
        before = read_checkpoint(Path(base)) if base else WorldCheckpoint()
        after = train(dataset, runs, before)
        write_atomically(out / CHECKPOINT, encode_checkpoint(after))
    except BadInput as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"videos used for training: {after.videos - before.videos}")


if __name__ == "__main__":
    main()
