"""``tribrain finetune``: a world model trained again and again on the videos that turned out best."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from runner.command_template import CommandTemplate
from runner.finetune.comparison import PairedTask, WorldOf
from runner.finetune.tasks import MOST_SIMULATED, generated_by, simulated, simulated_tasks, tasks_of
from runner.interfaces import AnyCritic
from streams.errors import BadInput
from streams.files import read_text
from streams.messages.contracts import RewardSnapshot
from streams.snapshots.serving import ServingSnapshot
from trainers.datasets.build import WritingRules
from trainers.datasets.captions import CaptionKind
from trainers.datasets.choice import ChoiceRules
from trainers.datasets.extra import require_extra
from trainers.datasets.formats import FORMATS, DatasetFormat
from trainers.datasets.selection import SelectionPolicy
from tribrain.data.build_dataset import pictures_of
from tribrain.data.finetune_wow import OPTIONS, refuse_wow_options, wow_training, wow_training_options
from tribrain.run.critics import critic_options, open_critics, say_who_judges
from tribrain.run.generator_lines import GeneratorLines
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run, say_service_plan
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, FiniteFloat

_PLACES = ("dataset", "out", "base", "runs")
_SIMULATED_TASKS = 40


@click.command(
    cls=Command,
    epilog="Example: tribrain data finetune --bootstrap-servers 127.0.0.1:9092 --runs runs --work finetuning "
    "--world simulated --every 50 --train-cmd 'python -m runner.worlds.train_simulated --dataset {dataset} "
    "--runs {runs} --base {base} --out {out}'",
)
@bootstrap_servers
@click.option("--runs", required=True, type=PATH, metavar="FOLDER", help="Holds the folders of the runs.")
@options.model
@click.option("--work", required=True, type=PATH, help="Datasets, checkpoints and comparisons go here.")
@click.option(
    "--dataset-policy",
    "policy",
    default="top:0.25",
    show_default=True,
    metavar="POLICY",
    help="Which videos are shown, as for build-dataset: all, top:0.25, min:0.6, per-task:2, random:0.25@0.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Train once the policy has chosen so many videos that are new since the last training.",
)
@click.option("--once", is_flag=True, help="Train now if anything new is chosen, and end.")
@click.option(
    "--reward",
    type=PATH,
    help="A bt_reward.json that rates videos and judges checkpoints; by default the newest published one "
    "once it is active, and before that the critics' mean.",
)
@click.option(
    "--format",
    "dataset_format",
    type=click.Choice(FORMATS),
    help="Of the dataset.  [default: diffsynth; wow-wan for --train wow-wan]",
)
@options.caption
@click.option(
    "--train",
    type=click.Choice(["wow-wan"]),
    help="WoW's own training of a LoRA of wan-14b, which also makes the videos of the comparison, from the "
    "checkout --wow-repo; or give --train-cmd.",
)
@click.option(
    "--train-cmd",
    help="Your training: {dataset}, {out}, {base} (the checkpoint before) and {runs} are put in.",
)
@click.option(
    "--train-timeout-s",
    type=FiniteFloat(min=0, min_open=True),
    default=604800.0,
    show_default=True,
    help="Longest time of a training.",
)
@click.option("--base", default="", help="The first checkpoint, a folder or file.")
@click.option(
    "--world",
    type=click.Choice(["simulated"]),
    help="Compare checkpoints of the simulated world; or give --generate-cmd.",
)
@click.option(
    "--generate-cmd",
    help="Makes a video of a checkpoint: {checkpoint}, {prompt}, {seed}, {out_dir} and {image} are put in.",
)
@click.option(
    "--prompts",
    type=PATH,
    help="What checkpoints are compared on, and never trained on: one prompt a line, or WoW's JSON Lines "
    "(*.jsonl).",
)
@click.option(
    "--compare-tasks",
    type=click.IntRange(1, MOST_SIMULATED),
    help=f"simulated: so many goals.  [default: {_SIMULATED_TASKS}]",
)
@click.option(
    "--compare-seeds",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Videos of each prompt; more of them show a smaller difference.",
)
@click.option(
    "--max-failures",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="After so many videos of one checkpoint that failed in a row, no more of it are tried; they lose.",
)
@click.option(
    "--timeout-s",
    type=FiniteFloat(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    help="Longest time of one generation.",
)
@wow_training_options
@critic_options
@dry_run
def finetune(
    bootstrap_servers: str | None,
    runs: Path,
    model: str,
    work: Path,
    policy: str,
    every: int,
    once: bool,
    reward: Path | None,
    dataset_format: DatasetFormat | None,
    caption: CaptionKind,
    train: str | None,
    train_cmd: str | None,
    train_timeout_s: float,
    base: str,
    world: str | None,
    generate_cmd: str | None,
    prompts: Path | None,
    compare_tasks: int | None,
    compare_seeds: int,
    max_failures: int,
    timeout_s: float,
    dry_run: bool,
    **given: Any,
) -> None:
    """Fine-tune a world model whenever enough selected videos have come in over Kafka; until stopped.

    It builds a dataset of the runs since the last promotion, runs your training (or WoW's), and lets the new
    checkpoint and the one before make videos of the same prompts with the same seeds. The new one is promoted
    if it is shown to win more than half by what selected the videos, and not to lose clearly by another
    judge; the chance that this ever errs is 5%, over all comparisons of the model. Prompts that are compared
    on are kept out of every dataset. WORK/promoted is a link to the checkpoint in force.
    Each step is an event on the finetune topic. It may be killed at any time and started again: it goes on
    with the training that it had begun, and does nothing twice that was finished. Of two of one model, the
    last to begin a training goes on, and the other ends with exit code 3.
    """
    kafka = open_kafka(bootstrap_servers, "finetune")
    of_wow = {name: given.pop(name) for name in OPTIONS}
    if (train is None) == (train_cmd is None):
        raise BadInput("give one of --train wow-wan and --train-cmd, by which a checkpoint is trained")
    if train is None:
        refuse_wow_options(of_wow)
    elif dataset_format not in (None, "wow-wan"):
        raise BadInput(f"--train wow-wan reads --format wow-wan, and not {dataset_format}; leave it out")
    rules = ChoiceRules(
        dataset_format=dataset_format or ("wow-wan" if train is not None else "diffsynth"),
        caption=caption,
        policy=SelectionPolicy.parse(policy),
    )
    if train_cmd is not None:
        _template(train_cmd)  # says what is wrong with it
    if train is not None and (world is not None or generate_cmd is not None):
        raise BadInput("--train wow-wan makes the videos itself; leave out --world and --generate-cmd")
    if train is None and (world is None) == (generate_cmd is None):
        raise BadInput("give one of --world simulated and --generate-cmd, by which checkpoints are compared")
    if generate_cmd is not None and not base:
        raise BadInput("--generate-cmd needs --base, the checkpoint that the first new one is compared with")
    if base and not Path(base).exists():
        raise BadInput(f"--base {base}: no such folder or file; check the path")
    if not runs.is_dir():
        raise BadInput(f"{runs}: no such folder; give the one that holds the folders of the runs")
    needing = "--generate-cmd" if train is None else "--train wow-wan"
    tasks = _tasks(world, prompts, compare_tasks, compare_seeds, needing)
    first = str(Path(base).absolute()) if base else ""
    wow = wow_training(of_wow, tasks, first, timeout_s) if train is not None else None
    world_of: WorldOf = (
        wow.world_of
        if wow is not None
        else simulated
        if generate_cmd is None
        else generated_by(generate_cmd, timeout_s)
    )
    command = wow.command if wow is not None else train_cmd or ""
    if generate_cmd is not None and "{image}" in generate_cmd and not all(task.image for task in tasks):
        raise BadInput("--generate-cmd has {image}, and the prompts have none; give WoW's JSON Lines")
    require_extra()
    if dry_run:
        say_service_plan(kafka, f"train checkpoints of model {model!r} in {work}")
        return
    # Not at the top: Kafka's client takes a third of a second, which bad input need not wait for.
    from runner.finetune.cycle import PROMOTED, serve
    from runner.finetune.job import Job
    from streams.kafka.topics import create_topics

    lines = GeneratorLines()
    try:
        with Interrupts(), ExitStack() as stack:
            if wow is not None:
                stack.callback(wow.worlds.close)
            chosen = open_critics(stack, **given)
            snapshot = _snapshot(reward, chosen) if reward is not None else None
            create_topics(kafka)
            taken = "another finetune is at work there; stop it or give another --work"
            stack.enter_context(exclusive_lock(work, "--work", taken))
            recipe = {
                "train": command,
                "rules": asdict(rules) | {"policy": str(rules.policy)},
                "base": first,
                "generate": generate_cmd or world or _of_recipe(of_wow),
                "tasks": hashlib.sha256(orjson.dumps([asdict(task) for task in tasks])).hexdigest(),
                "critics": [critic.name for critic in chosen],
                "reward": snapshot.checksum if snapshot is not None else "",
            }
            _say(f"model {model!r} from {kafka.bootstrap_servers}; checkpoints in {work}, {work / PROMOTED}")
            say_who_judges(chosen)
            job = Job(
                kafka=kafka,
                model=model,
                root=runs,
                work=work,
                base=first,
                rules=rules,
                writing=WritingRules(link=True),
                train=_template(command),
                train_timeout_s=train_timeout_s,
                every=every,
                tasks=tasks,
                world_of=world_of,
                critics=chosen,
                recipe=recipe,
                max_failures=max_failures,
                reward=snapshot,
                pictures=pictures_of,
                say=_say,
                listener=lambda line: lines(work / "training", line),
                after_comparison=wow.worlds.close if wow is not None else lambda: None,
                on_pair=_pairs,
            )
            failure = serve(job, once=once)
    except KeyboardInterrupt:
        _say("stopped; the next start goes on from here")
        return
    if failure:
        raise NothingMade(f"model {model!r}: {failure}")


def _template(command: str) -> CommandTemplate:
    return CommandTemplate(command, whose="the training", places=_PLACES, required=("dataset", "out"))


def _of_recipe(of_wow: dict[str, Any]) -> dict[str, Any]:
    """What of WoW's options changes the videos of a comparison."""
    return {name: of_wow[name] for name in ("frames", "steps", "tiled", "wow_extra_args")}


def _tasks(
    world: str | None, prompts: Path | None, n: int | None, seeds: int, needing: str
) -> list[PairedTask]:
    if prompts is not None and n is not None:
        raise BadInput("give one of --prompts and --compare-tasks, not both")
    if prompts is not None:
        return tasks_of(prompts, seeds)
    if world is None:
        raise BadInput(f"{needing} needs --prompts, a file of what checkpoints are compared on")
    return simulated_tasks(n or _SIMULATED_TASKS, seeds)


def _snapshot(path: Path, critics: Sequence[AnyCritic]) -> RewardSnapshot:
    """Raises BadInput, also for one that weighs none of the critics."""
    names = [critic.name for critic in critics]
    return ServingSnapshot(RewardSnapshot, critics=names).offer(read_text(path), str(path))


def _pairs(done: int, total: int) -> None:
    if done == total or done % 10 == 0:
        _say(f"compared: {done} of {total} pairs of videos")


def _say(what: str) -> None:
    click.echo(f"tribrain finetune: {what}", err=True)
