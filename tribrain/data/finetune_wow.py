"""``finetune --train wow-wan``: WoW's own training of wan-14b, and wan-14b itself for the comparison."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from cloup.typing import Decorator

from runner.finetune.comparison import PairedTask
from runner.worlds.wow.checkout import Checkout
from runner.worlds.wow.first_frame import image_problem
from runner.worlds.wow.lora_worlds import LoraWorlds
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.train_wan import DEFAULT, LoraRules, lora_of, require_rank
from streams.errors import BadInput
from tribrain.run.wow import wow_options, wow_settings
from tribrain.shell.option_types import FiniteFloat, Integer
from tribrain.shell.renamed import Renamed

OPTIONS = (
    *("wow_repo", "gpus", "wow_python", "persistent_gb", "frames", "steps", "tiled", "wow_extra_args"),
    *("train_steps", "learning_rate", "lora_rank"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WowTraining:
    command: str
    """Training command, as ``--train-cmd`` takes it."""
    worlds: LoraWorlds

    def world_of(self, checkpoint: str, task: PairedTask) -> Any:
        return self.worlds.world_of(checkpoint, Path(task.image))


WOW_TRAINING: Sequence[Decorator] = (
    *wow_options(required=False, model=False),
    click.option(
        "--train-steps", type=Integer(min=1), show_default=str(DEFAULT.steps), help="Steps of a training."
    ),
    click.option(
        "--lr",
        "learning_rate",
        cls=Renamed,
        old=("--learning-rate",),
        type=FiniteFloat(min=0, min_open=True),
        show_default=f"{DEFAULT.learning_rate:g}",
        help="Highest learning rate.",
    ),
    click.option(
        "--rank",
        "lora_rank",
        cls=Renamed,
        old=("--lora-rank",),
        type=Integer(min=1),
        show_default=str(DEFAULT.rank),
        help="LoRA rank; the same in every training.",
    ),
)
"""The options named in OPTIONS; none has a default, so that None marks one that was not given."""


def refuse_wow_options(given: Mapping[str, Any]) -> None:
    """Raises BadInput where one of OPTIONS was given for another training."""
    for name in OPTIONS:
        if given[name] is not None:
            raise BadInput(f"{_flag(name)} has no effect without --train wow-wan; leave it out")


def _flag(name: str) -> str:
    return {"learning_rate": "--lr", "lora_rank": "--rank"}.get(name, "--" + name.replace("_", "-"))


def wow_training(
    given: Mapping[str, Any], tasks: Sequence[PairedTask], base: str, timeout_s: float
) -> WowTraining:
    """WoW's training. Raises BadInput that names all that is missing, for it and for the comparison."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if "wow_repo" not in chosen:
        raise BadInput("--train wow-wan needs --wow-repo, a checkout of WoW's repository; give it")
    if not all(task.image for task in tasks):
        raise BadInput("--train wow-wan needs first frames; give --prompts in WoW's JSON Lines")
    rules = LoraRules(
        steps=chosen.pop("train_steps", DEFAULT.steps),
        learning_rate=chosen.pop("learning_rate", DEFAULT.learning_rate),
        rank=chosen.pop("lora_rank", DEFAULT.rank),
    )
    settings = wow_settings(Path(tasks[0].image), None, timeout_s=timeout_s, **chosen)
    if (lora := lora_of(base)) is not None:
        require_rank(lora, rules.rank)
    settings.checkout.require_finetuning(settings.python, settings.extra)
    for task in tasks:
        if problem := image_problem("wan-14b", Path(task.image)):
            raise BadInput(f"what checkpoints are compared on: {problem}")
    return WowTraining(command=_command(settings, rules), worlds=LoraWorlds(settings))


def _command(settings: WowSettings, rules: LoraRules) -> str:
    checkout: Checkout = settings.checkout
    fixed = [
        *(sys.executable, "-m", "runner.worlds.wow.train_wan", "--wow-repo", str(checkout.repo)),
        *("--wow-python", settings.python, "--gpus", ",".join(settings.gpus), "--steps", str(rules.steps)),
        *("--learning-rate", str(rules.learning_rate), "--lora-rank", str(rules.rank)),
    ]
    places = ["--dataset", "{dataset}", "--work", "{dataset}-encoded", "--base", "{base}", "--out", "{out}"]
    return shlex.join([*(word.replace("{", "{{").replace("}", "}}") for word in fixed), *places])
