"""``tribrain data finetune``: trains a world model again and again on the best of its videos."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from runner.command_template import CommandTemplate
from runner.finetune.comparison import PairedTask, WorldOf
from runner.finetune.tasks import generated_by, simulated, simulated_tasks, tasks_of
from runner.interfaces import AnyCritic
from streams.errors import BadInput, counted
from streams.files import read_text
from streams.messages.contracts import FinetuneEvent, RewardSnapshot
from streams.snapshots.serving import ServingSnapshot
from trainers.datasets.build import WritingRules
from trainers.datasets.choice import ChoiceRules
from trainers.datasets.selection import SelectionPolicy
from trainers.extras import require_extra
from tribrain.data.build_dataset import pictures_of
from tribrain.data.finetune_options import SIMULATED_TASKS, FinetuneOptions, finetune_options
from tribrain.data.finetune_wow import refuse_wow_options, wow_training
from tribrain.run.critics import open_critics, say_who_judges
from tribrain.run.generator_lines import GeneratorLines
from tribrain.shell.command import Command
from tribrain.shell.dry_run import say_service_plan
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.service_end import saying_end

_PLACES = ("dataset", "out", "base", "runs")


@click.command(
    cls=Command,
    epilog="Example: tribrain data finetune --bootstrap-servers 127.0.0.1:9092 --runs runs --out finetuning "
    "--world simulated --every 50 --train-cmd 'python -m runner.worlds.train_simulated --dataset {dataset} "
    "--runs {runs} --base {base} --out {out}'",
)
@finetune_options
def finetune(**given: Any) -> None:
    """Fine-tune a world model whenever enough good videos have come in over Kafka; until stopped.

    Each round builds a dataset of the runs since the last promotion, trains, and lets the old and the new
    checkpoint make videos of the same prompts with the same seeds. The new one is promoted if it wins
    significantly more than half by what selected the videos, and does not lose clearly by another judge; the
    chance of any wrong promotion is at most 5% over all comparisons. OUT/promoted links to the checkpoint in
    use.

    Each step is an event on the finetune topic. It can be killed and restarted at any time: it continues a
    training that it began and repeats nothing that was finished. If two run for the same model, the older
    one ends with exit code 3.
    """
    chosen = FinetuneOptions.of(given)
    kafka = open_kafka(chosen.bootstrap_servers, "data finetune")
    if (chosen.train is None) == (chosen.train_cmd is None):
        raise BadInput("give one of --train wow-wan and --train-cmd, by which a checkpoint is trained")
    if chosen.train is None:
        refuse_wow_options(chosen.wow)
    elif chosen.dataset_format not in (None, "wow-wan"):
        raise BadInput(
            f"--train wow-wan reads --format wow-wan, and not {chosen.dataset_format}; leave it out"
        )
    rules = ChoiceRules(
        dataset_format=chosen.dataset_format or ("wow-wan" if chosen.train is not None else "diffsynth"),
        caption=chosen.caption,
        policy=SelectionPolicy.parse(chosen.policy),
    )
    if chosen.train_cmd is not None:
        _template(chosen.train_cmd)  # raises BadInput if the command is wrong
    if chosen.train is not None and (chosen.world is not None or chosen.generate_cmd is not None):
        raise BadInput("--train wow-wan makes the videos itself; leave out --world and --generate-cmd")
    if chosen.train is None and (chosen.world is None) == (chosen.generate_cmd is None):
        raise BadInput("give one of --world simulated and --generate-cmd, by which checkpoints are compared")
    if chosen.generate_cmd is not None and not chosen.base:
        raise BadInput("--generate-cmd needs --base, the checkpoint that the first new one is compared with")
    if chosen.base and not Path(chosen.base).exists():
        raise BadInput(f"--base {chosen.base}: no such folder or file; check the path")
    if not chosen.runs.is_dir():
        raise BadInput(f"{chosen.runs}: no such folder; give the one that holds the folders of the runs")
    needing = "--generate-cmd" if chosen.train is None else "--train wow-wan"
    tasks = _tasks(chosen.world, chosen.prompts, chosen.compare_tasks, chosen.compare_seeds, needing)
    first = str(Path(chosen.base).absolute()) if chosen.base else ""
    if chosen.world is not None:
        simulated(first, tasks[0])  # raises BadInput if the checkpoint is bad
    wow = wow_training(chosen.wow, tasks, first, chosen.timeout_s) if chosen.train is not None else None
    world_of: WorldOf = (
        wow.world_of
        if wow is not None
        else simulated
        if chosen.generate_cmd is None
        else generated_by(chosen.generate_cmd, chosen.timeout_s)
    )
    command = wow.command if wow is not None else chosen.train_cmd or ""
    if (
        chosen.generate_cmd is not None
        and "{image}" in chosen.generate_cmd
        and not all(task.image for task in tasks)
    ):
        raise BadInput("--generate-cmd has {image}, and the prompts have none; give WoW's JSON Lines")
    require_extra("data")
    if chosen.dry_run:
        deed = f"train checkpoints of model {chosen.model!r} in {chosen.work}"
        say_service_plan(kafka, deed, as_json=chosen.as_json)
        return
    # Not at the top: Kafka's client takes a third of a second, which bad input need not wait for.
    from runner.finetune.cycle import PROMOTED, serve
    from runner.finetune.job import FinetuneJob
    from streams.kafka.topics import create_topics

    lines = GeneratorLines()
    ended: list[FinetuneEvent] = []
    try:
        with Interrupts(), ExitStack() as stack:
            if wow is not None:
                stack.callback(wow.worlds.close)
            critics = open_critics(
                stack,
                critics=chosen.critics,
                no_pixel_critics=chosen.no_pixel_critics,
                critic_timeout_s=chosen.critic_timeout_s,
            )
            snapshot = _snapshot(chosen.reward, critics) if chosen.reward is not None else None
            create_topics(kafka)
            taken = "another finetune is at work there; stop it or give another --out"
            stack.enter_context(exclusive_lock(chosen.work, "--out", taken))
            recipe = {
                "train": command,
                "rules": asdict(rules) | {"policy": str(rules.policy)},
                "base": first,
                "generate": chosen.generate_cmd or chosen.world or _of_recipe(chosen.wow),
                "tasks": hashlib.sha256(orjson.dumps([asdict(task) for task in tasks])).hexdigest(),
                "critics": [critic.name for critic in critics],
                "reward": snapshot.checksum if snapshot is not None else "",
            }
            promoted = chosen.work / PROMOTED
            from_kafka = f"model {chosen.model!r} from {kafka.bootstrap_servers}"
            _say(f"{from_kafka}; checkpoints in {chosen.work}, {promoted}")
            say_who_judges(critics)
            job = FinetuneJob(
                kafka=kafka,
                model=chosen.model,
                root=chosen.runs,
                work=chosen.work,
                base=first,
                rules=rules,
                writing=WritingRules(link=True),
                train=_template(command),
                train_timeout_s=chosen.train_timeout_s,
                every=chosen.every,
                tasks=tasks,
                world_of=world_of,
                critics=critics,
                recipe=recipe,
                max_failures=chosen.max_failures,
                retry_s=chosen.retry_s,
                reward=snapshot,
                pictures=pictures_of,
                say=_say,
                listener=lambda line: lines(chosen.work / "training", line),
                after_comparison=wow.worlds.close if wow is not None else lambda: None,
                on_pair=_pairs,
                on_ended=ended.append,
            )

            def facts() -> dict[str, Any]:
                return _facts(ended, promoted)

            with saying_end("finetune", chosen.model, facts, once=chosen.once, as_json=chosen.as_json):
                if failure := serve(job, once=chosen.once):
                    raise NothingMade(f"model {chosen.model!r}: {failure}")
    except KeyboardInterrupt:
        _say("stopped; the next start goes on from here")


def _facts(ended: Sequence[FinetuneEvent], promoted: Path) -> dict[str, Any]:
    """The trainings that ended in this process, and the checkpoint that ``promoted`` links to."""
    return {
        "trainings": len(ended),
        "promoted": [event.version for event in ended if event.step == "promoted"],
        "kept": [event.version for event in ended if event.step == "kept"],
        "verdict": ended[-1].statement if ended else None,
        "checkpoint_in_use": str(promoted.readlink()) if promoted.is_symlink() else None,
    }


def _template(command: str) -> CommandTemplate:
    return CommandTemplate(command, whose="the training", places=_PLACES, required=("dataset", "out"))


def _of_recipe(of_wow: Mapping[str, Any]) -> dict[str, Any]:
    """Those of WoW's options that change the videos of a comparison."""
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
    return simulated_tasks(n or SIMULATED_TASKS, seeds)


def _snapshot(path: Path, critics: Sequence[AnyCritic]) -> RewardSnapshot:
    """The reward model in ``path``. Raises BadInput, also where it weighs none of the critics."""
    names = [critic.name for critic in critics]
    return ServingSnapshot(RewardSnapshot, critics=names).offer(read_text(path), str(path))


def _pairs(done: int, total: int) -> None:
    if done == total or done % 10 == 0:
        _say(f"compared: {done} of {counted(total, 'pair')} of videos")


def _say(what: str) -> None:
    click.echo(f"tribrain data finetune: {what}", err=True)
