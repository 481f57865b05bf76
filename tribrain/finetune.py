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
from runner.finetune.comparison import PairedTask
from runner.finetune.tasks import MOST_SIMULATED, generated_by, simulated, simulated_tasks, tasks_of
from runner.interfaces import AnyCritic
from streams.errors import BadInput
from streams.files import read_text
from streams.kafka.settings import Settings
from streams.messages.contracts import RewardSnapshot
from streams.snapshots.serving import ServingSnapshot
from trainers.datasets.build import WritingRules
from trainers.datasets.captions import CaptionKind
from trainers.datasets.choice import ChoiceRules
from trainers.datasets.extra import require_extra
from trainers.datasets.formats import FORMATS, DatasetFormat
from trainers.datasets.selection import SelectionPolicy
from tribrain import options
from tribrain.alone import alone
from tribrain.build_dataset import pictures_of
from tribrain.exit_codes import NothingMade
from tribrain.generator_lines import GeneratorLines
from tribrain.interrupts import Interrupts
from tribrain.refinement import critic_options, open_critics, say_who_judges

_PLACES = ("dataset", "out", "base", "runs")
_SIMULATED_TASKS = 40


@click.command(
    cls=options.Command,
    epilog="Example: tribrain finetune --bootstrap-servers 127.0.0.1:9092 --runs runs --work finetuning "
    "--world simulated --every 50 --train-cmd 'python -m runner.worlds.train_simulated --dataset {dataset} "
    "--runs {runs} --base {base} --out {out}'",
)
@options.bootstrap_servers
@click.option(
    "--runs", required=True, type=options.PATH, metavar="FOLDER", help="Holds the folders of the runs."
)
@options.model
@click.option(
    "--work", required=True, type=options.PATH, help="Datasets, checkpoints and comparisons go here."
)
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
    type=options.PATH,
    help="A bt_reward.json that rates videos and judges checkpoints; by default the newest published one "
    "once it is active, and before that the critics' mean.",
)
@click.option(
    "--format",
    "dataset_format",
    type=click.Choice(FORMATS),
    default="diffsynth",
    show_default=True,
    help="Of the dataset.",
)
@options.caption
@click.option(
    "--train-cmd",
    required=True,
    help="Your training: {dataset}, {out}, {base} (the checkpoint before) and {runs} are put in.",
)
@click.option(
    "--train-timeout-s",
    type=options.FiniteFloat(min=0, min_open=True),
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
    type=options.PATH,
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
    "--timeout-s",
    type=options.FiniteFloat(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    help="Longest time of one generation.",
)
@critic_options
def finetune(
    bootstrap_servers: str | None,
    runs: Path,
    model: str,
    work: Path,
    policy: str,
    every: int,
    once: bool,
    reward: Path | None,
    dataset_format: DatasetFormat,
    caption: CaptionKind,
    train_cmd: str,
    train_timeout_s: float,
    base: str,
    world: str | None,
    generate_cmd: str | None,
    prompts: Path | None,
    compare_tasks: int | None,
    compare_seeds: int,
    timeout_s: float,
    **critics: Any,
) -> None:
    """Fine-tune a world model whenever enough selected videos have come in over Kafka; until stopped.

    It builds a dataset of the runs since the last promotion, runs your training command, and lets the new
    checkpoint and the one before make videos of the same prompts with the same seeds. The new one is promoted
    if it is shown to win more than half by what selected the videos, and not to lose clearly by another
    judge; the chance that this ever errs is 5%, over all comparisons of the model. Prompts that are compared
    on are kept out of every dataset. WORK/promoted is a link to the checkpoint in force.
    Each step is an event on the finetune topic. It may be killed at any time and started again: it goes on
    with the training that it had begun, and does nothing twice that was finished. Of two of one model, the
    last to begin a training goes on, and the other ends with exit code 3.
    """
    kafka = Settings.from_environment(bootstrap_servers)
    rules = ChoiceRules(dataset_format=dataset_format, caption=caption, policy=SelectionPolicy.parse(policy))
    train = CommandTemplate(train_cmd, whose="the training", places=_PLACES, required=("dataset", "out"))
    if (world is None) == (generate_cmd is None):
        raise BadInput("give one of --world simulated and --generate-cmd, by which checkpoints are compared")
    if generate_cmd is not None and not base:
        raise BadInput("--generate-cmd needs --base, the checkpoint that the first new one is compared with")
    if base and not Path(base).exists():
        raise BadInput(f"--base {base}: no such folder or file; check the path")
    if not runs.is_dir():
        raise BadInput(f"{runs}: no such folder; give the one that holds the folders of the runs")
    tasks = _tasks(world, prompts, compare_tasks, compare_seeds)
    world_of = simulated if generate_cmd is None else generated_by(generate_cmd, timeout_s)
    if generate_cmd is not None and "{image}" in generate_cmd and not all(task.image for task in tasks):
        raise BadInput("--generate-cmd has {image}, and the prompts have none; give WoW's JSON Lines")
    require_extra()
    # Not at the top: Kafka's client takes a third of a second, which bad input need not wait for.
    from runner.finetune.cycle import PROMOTED, serve
    from runner.finetune.job import Job
    from streams.kafka.topics import create_topics

    lines = GeneratorLines()
    try:
        with Interrupts(), ExitStack() as stack:
            chosen = open_critics(stack, **critics)
            snapshot = _snapshot(reward, chosen) if reward is not None else None
            create_topics(kafka)
            taken = "another finetune is at work there; stop it or give another --work"
            stack.enter_context(alone(work, "--work", taken))
            first = str(Path(base).absolute()) if base else ""
            recipe = {
                "train": train_cmd,
                "rules": asdict(rules) | {"policy": str(rules.policy)},
                "base": first,
                "generate": generate_cmd or world,
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
                train=train,
                train_timeout_s=train_timeout_s,
                every=every,
                tasks=tasks,
                world_of=world_of,
                critics=chosen,
                recipe=recipe,
                reward=snapshot,
                pictures=pictures_of,
                say=_say,
                listener=lambda line: lines(work / "training", line),
                on_pair=_pairs,
            )
            failure = serve(job, once=once)
    except KeyboardInterrupt:
        _say("stopped; the next start goes on from here")
        return
    if failure:
        raise NothingMade(f"model {model!r}: {failure}")


def _tasks(world: str | None, prompts: Path | None, n: int | None, seeds: int) -> list[PairedTask]:
    if prompts is not None and n is not None:
        raise BadInput("give one of --prompts and --compare-tasks, not both")
    if prompts is not None:
        return tasks_of(prompts, seeds)
    if world is None:
        raise BadInput("--generate-cmd needs --prompts, a file of what checkpoints are compared on")
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
