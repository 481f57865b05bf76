"""``tribrain data build``: turns runs into a dataset that a world model is trained on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson
from cloup import option_group
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from runner.look import look_at, put_as_mp4
from streams.errors import BadInput, counted
from streams.files import read_text
from streams.messages.contracts import RewardSnapshot
from streams.snapshots.serving import ServingSnapshot
from trainers.datasets.build import EMBED_PROMPTS, SCHEMA, Pictures, WritingRules, build_dataset
from trainers.datasets.captions import CaptionKind
from trainers.datasets.choice import Choice, ChoiceRules, choose
from trainers.datasets.formats import FORMATS, WAN_FRAMES, DatasetFormat
from trainers.datasets.near_duplicates import NEAR
from trainers.datasets.new_folder import check_place
from trainers.datasets.samples import Run, read_runs
from trainers.datasets.selection import SelectionPolicy
from trainers.datasets.splits import SplitShares
from trainers.extras import require_extra
from tribrain.data.dataset_plots import rewards_plot, tasks_plot
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import FiniteFloat, Integer
from tribrain.shell.output import progress

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The values of the command's options, by their names."""

    runs: tuple[Path, ...]
    dataset_format: DatasetFormat
    out: Path
    reward: Path | None
    top_fraction: float | None
    min_reward: float | None
    per_task: int | None
    policy: str | None
    min_outcome: float
    caption: CaptionKind
    validation: float
    test: float
    duplicate_bits: float
    shard_mb: int
    link: bool
    replace: bool
    as_json: bool


@click.command(
    cls=Command,
    name="build-dataset",
    epilog="Example: tribrain data build --runs runs --format diffsynth --out dataset "
    "--reward bt_reward.json --top-fraction 0.25",
)
@option_group(
    "Selection of videos",
    options.runs,
    options.reward_file("A bt_reward.json to rate the videos by.  [default: the critics' mean]"),
    click.option(
        "--top-fraction",
        type=FiniteFloat(min=0.0, max=1.0, min_open=True),
        help="Keep this share of the videos, those with the highest reward.",
    ),
    click.option("--min-reward", type=FiniteFloat(), help="Take videos with at least this reward."),
    click.option("--per-task", type=Integer(min=1), help="Take this many videos per task, the best."),
    click.option(
        "--policy",
        metavar="POLICY",
        show_default="all",
        help="Which videos to select, in one word: all, top:0.25, min:0.6, per-task:2 or random:0.25@0.",
    ),
    click.option(
        "--min-outcome",
        type=FiniteFloat(min=0.0, max=1.0),
        default=0.0,
        help="Leave out videos that a validator or a person scored below this.",
    ),
    click.option(
        "--duplicate-bits",
        type=FiniteFloat(min=0.0, max=64.0),
        default=NEAR,
        help="Largest distance of near-duplicates, in bits of a frame's 64-bit perceptual hash.",
    ),
)
@option_group(
    "Dataset",
    options.out("Folder of the dataset."),
    click.option(
        "--format", "dataset_format", required=True, type=click.Choice(FORMATS), help="Dataset format."
    ),
    options.caption,
    click.option(
        "--validation",
        type=FiniteFloat(min=0.0, max=1.0, max_open=True),
        default=0.1,
        help="Expected share of tasks for validation.",
    ),
    click.option(
        "--test",
        type=FiniteFloat(min=0.0, max=1.0, max_open=True),
        default=0.0,
        help="Expected share of tasks for tests.",
    ),
    click.option(
        "--shard-mb", type=Integer(min=1), default=1000, help="webdataset: size of a tar file in megabytes."
    ),
    options.link,
    options.replace,
    options.as_json,
)
def build_dataset_command(**given: Any) -> None:
    """Build a dataset of captioned videos from finished runs: all videos, or the best.

    With --reward a video's rating is the share of the other videos of its task that it would win against;
    0.5 is average in every task. Failed candidates, missing videos and near-duplicates are left out and
    counted. Tasks are split by name, so that later runs move none. The same runs give the same bytes. The
    folder is complete or absent.
    """
    chosen = BuildOptions(**given)
    require_extra("data")
    rules = ChoiceRules(
        dataset_format=chosen.dataset_format,
        caption=chosen.caption,
        policy=_policy(chosen.top_fraction, chosen.min_reward, chosen.per_task, chosen.policy),
        nearest=chosen.duplicate_bits,
        min_outcome=chosen.min_outcome,
    )
    writing = WritingRules(
        shares=SplitShares(validation=chosen.validation, test=chosen.test),
        link=chosen.link,
        shard_bytes=chosen.shard_mb * 1_000_000,
        replace=chosen.replace,
    )
    check_place(chosen.out, SCHEMA, replace=chosen.replace)
    found = read_runs(chosen.runs)
    snapshot = _snapshot(chosen.reward, found) if chosen.reward is not None else None
    choice = _chosen(found, rules, snapshot)
    with progress(*_COLUMNS) as bar:
        task = bar.add_task("writing", total=len(choice.chosen))
        summary = build_dataset(
            chosen.out,
            choice,
            rules,
            writing,
            snapshot,
            pictures_of(choice),
            put_as_mp4,
            on_row=lambda: bar.advance(task),
        )
    if chosen.as_json:
        click.echo(orjson.dumps({"out": str(chosen.out), **summary}))
    else:
        short = sum(choice.looks[sample.id].frames < WAN_FRAMES for sample in choice.chosen)
        click.echo("\n".join(_said(chosen.out, summary, short)))


def _policy(
    top_fraction: float | None, min_reward: float | None, per_task: int | None, policy: str | None
) -> SelectionPolicy:
    given = [
        *([SelectionPolicy("top", top_fraction)] if top_fraction is not None else []),
        *([SelectionPolicy("min", min_reward)] if min_reward is not None else []),
        *([SelectionPolicy("per-task", per_task)] if per_task is not None else []),
        *([SelectionPolicy.parse(policy)] if policy is not None else []),
    ]
    if len(given) > 1:
        raise BadInput(
            f"{' and '.join(map(str, given))} are given; expected one of --top-fraction, --min-reward, "
            "--per-task and --policy"
        )
    return given[0] if given else SelectionPolicy()


def _snapshot(path: Path, runs: Sequence[Run]) -> RewardSnapshot:
    """The reward model in ``path``. Raises BadInput, also where it weighs no critic of these runs."""
    critics = {r.critic_name for run in runs for event in run.events for r in event.critic_results}
    return ServingSnapshot(RewardSnapshot, critics=critics).offer(read_text(path), str(path))


def _chosen(runs: Iterable[Run], rules: ChoiceRules, snapshot: RewardSnapshot | None) -> Choice:
    with progress(*_COLUMNS) as bar:
        task = bar.add_task("looking at videos", total=None)
        choice = choose(
            runs, rules, snapshot, look_at, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if not choice.chosen:
        reasons = ", ".join(f"{reason} ({number})" for reason, number in sorted(choice.left_out.items()))
        raise BadInput(
            f"no video is left for a dataset: {reasons or 'the runs are empty'}; "
            "give more runs, or ask less of them"
        )
    return choice


def pictures_of(choice: Choice) -> Pictures:
    """The pictures on a dataset's card, by file name."""
    drawn = {
        "rewards.png": rewards_plot(choice.distinct, choice.chosen),
        "tasks.png": tasks_plot(choice.distinct, choice.chosen),
    }
    return {name: (picture.png, picture.alt) for name, picture in drawn.items()}


def _said(out: Path, summary: dict[str, Any], short: int) -> list[str]:
    splits = ", ".join(
        f"{counted(of['videos'], 'video')} of {counted(of['tasks'], 'task')} in {split}"
        for split, of in summary["splits"].items()
    )
    videos, iterations = (counted(summary[f"{what}s"], what) for what in ("video", "iteration"))
    lines = [f"{videos} of {iterations} written to {out}: {splits}"]
    if "train" not in summary["splits"]:
        lines.append("No task fell to train: give more tasks, or --validation 0 --test 0 to train on all")
    if converted := sum(of["converted"] for of in summary["splits"].values()):
        lines.append(f"{counted(converted, 'video')} converted to upright H.264 in MP4")
    lines += [f"left out: {reason} ({number})" for reason, number in summary["left_out"].items()]
    if summary["snapshot"] is not None:
        lines.append(summary["snapshot"]["statement"])
    if summary["format"] == "wow-wan" and short:
        which = f"{counted(short, 'video')} with fewer than {WAN_FRAMES} frames"
        lines.append(f"{which}: WoW's training repeats the last frame")
    if summary["format"] == "wow-dit-2b":
        script = shlex.quote(str((out / EMBED_PROMPTS).absolute()))
        lines.append("The T5 embeddings are made by WoW's Python, in dit_models/wow-dit-2b of WoW:")
        lines.append(f"  PYTHONPATH=. python {script}")
    elif summary["format"] == "cosmos-predict2":
        lines.append("The T5 embeddings are made in a checkout of Cosmos-Predict2:")
        folders = [shlex.quote(str((out / split).absolute())) for split in summary["splits"]]
        lines += [f"  python -m scripts.get_t5_embeddings --dataset_path {folder}" for folder in folders]
    return lines
