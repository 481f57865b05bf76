"""``tribrain pairs share``: preference pairs for other trainings, and for people who judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

import click
import orjson
from cloup import option_group
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from runner.interfaces import GenerationFailed
from runner.look import put_as_mp4
from runner.video import is_plain_mp4, read_first_frame, read_video
from streams.errors import BadInput, counted
from streams.messages.codec import ContractError
from streams.messages.contracts import LabelSource, PairStrategy
from trainers.datasets.labelling import LABELLING_CONFIG, labelling_tasks
from trainers.datasets.new_folder import SUMMARY, check_place, new_folder
from trainers.datasets.preferences import (
    FoundPair,
    Frame,
    VideoPair,
    decided,
    dpo_rows,
    json_lines,
    labelled,
    pairs_of_files,
    pairs_of_runs,
    trl_rows,
    undisputed_videos,
    video_pairs,
)
from trainers.datasets.samples import read_runs
from trainers.pairs.pairing import PairingRules
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH
from tribrain.shell.output import progress, write_output

_SCHEMA = "tribrain.preferences/1"
_Format = Literal["trl", "video-dpo", "label-studio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The values of the command's options, by their names."""

    runs: tuple[Path, ...]
    pairs: tuple[Path, ...]
    pairs_format: _Format
    out: Path
    sources: tuple[LabelSource, ...]
    strategy: PairStrategy
    min_gap: float
    top_k: int
    first_frame: str
    video_prefix: str | None
    link: bool
    replace: bool
    as_json: bool


@click.command(
    cls=Command,
    epilog="Example: tribrain pairs share --runs runs --format video-dpo --out preferences",
)
@option_group(
    "Pairs",
    options.some_runs,
    click.option(
        "--pairs",
        multiple=True,
        type=PATH,
        metavar="FILE",
        help="Take these pairs instead of those of --runs (repeatable); --runs then only finds their "
        "videos, as does the file's own folder.",
    ),
    click.option(
        "--label-source",
        "sources",
        multiple=True,
        type=click.Choice(get_args(LabelSource)),
        show_default="all",
        help="Take only pairs with labels of this source (repeatable).",
    ),
    options.strategy,
    options.min_gap,
    options.top_k,
)
@option_group(
    "Output",
    click.option(
        "--format",
        "pairs_format",
        required=True,
        type=click.Choice(get_args(_Format)),
        help="Texts for TRL, videos for DPO, or tasks for Label Studio.",
    ),
    options.out("File (trl) or folder to write.", metavar="PATH"),
    click.option(
        "--first-frame",
        type=click.Choice(["same", "any"]),
        default="same",
        help="video-dpo: take pairs with the same first frame, as image-to-video models need, or any.",
    ),
    click.option(
        "--video-prefix",
        metavar="URL",
        show_default="/data/local-files/?d=OUT/videos/",
        help="label-studio: prefix of the names of videos.",
    ),
    options.link,
    options.replace,
    options.as_json,
)
def export_preferences(**given: Any) -> None:
    """Export preference pairs for TRL, for DPO of video models, or for Label Studio.

    trl is one file in JSON Lines: the goal as prompt, the chosen and the rejected prompt, margin and label
    source. The other two are folders with the videos. Pairs that cannot be used are left out and counted.
    Where labels of the same two texts or videos disagree, trl and video-dpo follow the most trusted source
    (people, then outcomes, proxies and critics), and its majority; a tie gives no pair.
    """
    chosen = ExportOptions(**given)
    if not (chosen.runs or chosen.pairs):
        raise BadInput("no pairs are named; give --runs with finished runs, or --pairs with a pairs file")
    if chosen.pairs_format == "trl" and chosen.out.is_file() and not chosen.replace:
        raise BadInput(f"{chosen.out}: already exists; choose another --out, or give --replace")
    if chosen.pairs_format != "trl":
        check_place(chosen.out, _SCHEMA, replace=chosen.replace)
    left_out: Counter[str] = Counter()
    rules = PairingRules(strategy=chosen.strategy, min_gap=chosen.min_gap, top_k=chosen.top_k)
    found = labelled(_found(chosen.runs, chosen.pairs, rules, left_out), chosen.sources, left_out)
    if chosen.pairs_format == "trl":
        rows = trl_rows(found, left_out)
        _check(rows, left_out)
        write_output(chosen.out, json_lines(rows))
    else:
        if chosen.pairs_format == "label-studio":
            found = decided(found, left_out)
        with_videos = _with_videos(
            found,
            left_out,
            same_first_frame=chosen.pairs_format == "video-dpo" and chosen.first_frame == "same",
        )
        if chosen.pairs_format == "video-dpo":
            with_videos = undisputed_videos(with_videos, left_out)
        _check(with_videos, left_out)
        prefix = chosen.video_prefix
        if prefix is None:
            prefix = f"/data/local-files/?d={quote(chosen.out.absolute().name)}/videos/"
        with new_folder(chosen.out, _SCHEMA, replace=chosen.replace) as folder:
            rows = _fill(folder, with_videos, chosen.pairs_format, prefix, chosen.link)
            summary = {
                "schema": _SCHEMA,
                "format": chosen.pairs_format,
                "pairs": len(rows),
                "left_out": dict(sorted((+left_out).items())),
            }
            (folder / SUMMARY).write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    if chosen.as_json:
        said = {
            "out": str(chosen.out),
            "format": chosen.pairs_format,
            "pairs": len(rows),
            "left_out": dict(+left_out),
        }
        click.echo(orjson.dumps(said))
    else:
        click.echo(f"{counted(len(rows), 'pair')} written to {chosen.out}")
        for reason, number in sorted((+left_out).items()):
            click.echo(f"left out: {reason} ({number})")


def _found(
    runs: Sequence[Path], pairs: Sequence[Path], rules: PairingRules, left_out: Counter[str]
) -> list[FoundPair]:
    read = read_runs(runs)
    if not pairs:
        return pairs_of_runs(read, rules)
    try:
        return pairs_of_files(pairs, read, left_out)
    except ContractError as error:
        raise BadInput(f"{error}; a pair has goal_instruction, chosen_prompt and rejected_prompt") from None


def _with_videos(
    found: Sequence[FoundPair], left_out: Counter[str], *, same_first_frame: bool
) -> list[VideoPair]:
    with progress(TextColumn("looking at videos"), BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task("", total=len(found))
        return video_pairs(
            found,
            _first_frame,
            left_out,
            same_first_frame=same_first_frame,
            on_pair=lambda: bar.advance(task),
        )


def _first_frame(video: Path) -> Frame | None:
    try:
        if not is_plain_mp4(video):
            read_video(video)  # it will be converted, which needs all of it
        return read_first_frame(video)
    except GenerationFailed:
        return None


def _check(rows: Sequence[object], left_out: Counter[str]) -> None:
    if not rows:
        reasons = ", ".join(f"{reason} ({number})" for reason, number in sorted((+left_out).items()))
        raise BadInput(f"no pair is left to write: {reasons or 'there are none'}; give other runs or pairs")


def _fill(
    folder: Path, pairs: Sequence[VideoPair], pairs_format: _Format, prefix: str, link: bool
) -> list[dict[str, Any]]:
    (folder / "videos").mkdir()
    files = {video_id: video for pair in pairs for video_id, video in _videos(pair)}
    for video_id, video in files.items():
        put_as_mp4(video, folder / "videos" / f"{video_id}.mp4", link)
    if pairs_format == "label-studio":
        rows = labelling_tasks(pairs, prefix)
        (folder / "tasks.json").write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
        (folder / "labeling_config.xml").write_text(LABELLING_CONFIG)
        return rows
    (folder / "first_frames").mkdir()
    for video_id, frame in {pair.chosen_id: pair.first_frame for pair in pairs}.items():
        Image.fromarray(frame).save(folder / "first_frames" / f"{video_id}.png")
    rows = dpo_rows(pairs)
    (folder / "pairs.jsonl").write_bytes(json_lines(rows))
    return rows


def _videos(pair: VideoPair) -> list[tuple[str, Path]]:
    return [(pair.chosen_id, pair.chosen), (pair.rejected_id, pair.rejected)]
