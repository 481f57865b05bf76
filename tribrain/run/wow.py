"""One refinement run of WoW, as its users run it: from a checkout, in WoW's own environment."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from runner.worlds.wow.checkout import Checkout
from runner.worlds.wow.models import open_world
from runner.worlds.wow.names import MODELS, ModelName
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.world import WowWorld
from streams.errors import BadInput
from tribrain.run.commands import RunOptions, run_options, run_world
from tribrain.run.generator_lines import GeneratorLines
from tribrain.shell.command import Command
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.option_types import PATH, FiniteFloat

TIMEOUT_S = 3600.0


def wow_options(
    *, required: bool, model: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Which of WoW's models, and how it is called: what ``wow_world`` takes, but for image and time-out.

    Where they are not ``required``, one that is not given is None. Without ``model`` there is no --model.
    """
    which = click.option(
        "--model", "wow_model", required=required, type=click.Choice(MODELS), help="Which of WoW's models."
    )

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(
            [
                click.option(
                    "--wow-repo",
                    required=required,
                    type=PATH,
                    metavar="FOLDER",
                    help="A checkout of WoW's repository, with its checkpoints.",
                ),
                *([which] if model else []),
                click.option(
                    "--gpus",
                    metavar="ID[,…]",
                    help="GPUs to use, a candidate on each; by default what there is.",
                ),
                click.option(
                    "--wow-python",
                    default="python" if required else None,
                    show_default=True,
                    metavar="PROGRAM",
                    help="The interpreter of WoW's own environment.",
                ),
                click.option(
                    "--persistent-gb",
                    type=FiniteFloat(min=0),
                    help="Wan: GB of the transformer's parameters that stay on the card; the rest comes in "
                    "for each step.  [default: by its memory, 70 of 80, 42 of 48, 35 of 40, 20 of 24]",
                ),
                click.option(
                    "--frames",
                    type=click.IntRange(min=1),
                    help="Wan, dit-7b: frames of a video.  [default: 81, 121]",
                ),
                click.option(
                    "--steps",
                    type=click.IntRange(min=1),
                    help="Wan, dit-7b: steps of denoising.  [default: 30, 35]",
                ),
                click.option(
                    "--tiled/--no-tiled",
                    default=None,
                    help="Wan: whether frames are decoded in tiles, for less memory.  [default: tiled]",
                ),
                click.option(
                    "--wow-extra-args",
                    default="" if required else None,
                    metavar="ARGUMENTS",
                    help="Added to the generator's command.",
                ),
            ]
        ):
            command = option(command)
        return command

    return add


def wow_world(image: Path, lines: GeneratorLines, *, wow_model: ModelName, **given: Any) -> WowWorld:
    """The model, to be closed; ``given`` is of ``wow_settings``. Raises BadInput that names all it lacks."""
    return open_world(wow_model, wow_settings(image, lines, **given))


def wow_settings(
    image: Path,
    lines: GeneratorLines | None,
    *,
    wow_repo: Path,
    gpus: str | None = None,
    wow_python: str = "python",
    wow_extra_args: str = "",
    timeout_s: float = TIMEOUT_S,
    **chosen: Any,
) -> WowSettings:
    """Of the options; ``chosen`` are settings of some models. Raises BadInput."""
    return WowSettings(
        checkout=Checkout.at(wow_repo),
        image=image,
        python=wow_python,
        gpus=tuple(gpu.strip() for gpu in gpus.split(",")) if gpus is not None else (),
        timeout_s=timeout_s,
        extra=_split(wow_extra_args),
        listener=lines,
        **chosen,
    )


@click.command(
    cls=Command,
    epilog="Example: tribrain run wow --wow-repo WoW --model dit-2b --image first.png "
    "--prompt 'pour the tea' --candidates 4 --gpus 0,1 --out runs/tea",
)
@run_options
@wow_options(required=True)
@click.option(
    "--image",
    required=True,
    type=PATH,
    help="The first frame: an image, or a video that begins with it.",
)
@click.option(
    "--timeout-s",
    type=FiniteFloat(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    help="Longest time of one generation, loading the model included.",
)
@click.option(
    "--reward-model", "model", default="default", show_default=True, help="The reward model's name on Kafka."
)
def run_wow(
    wow_repo: Path,
    wow_model: ModelName,
    image: Path,
    gpus: str | None,
    wow_python: str,
    wow_extra_args: str,
    timeout_s: float,
    persistent_gb: float | None,
    frames: int | None,
    steps: int | None,
    tiled: bool | None,
    **given: Any,
) -> None:
    """Refine a prompt with WoW: dit-2b, dit-7b, wan-14b or wan-1.3b.

    All that is missing is said before anything is generated. What a generator prints is in generator.log
    beside its video; its newest line is shown. Ctrl-C ends every process of it.
    """
    lines = GeneratorLines()
    world = wow_world(
        image,
        lines,
        wow_repo=wow_repo,
        wow_model=wow_model,
        gpus=gpus,
        wow_python=wow_python,
        wow_extra_args=wow_extra_args,
        timeout_s=timeout_s,
        persistent_gb=persistent_gb,
        frames=frames,
        steps=steps,
        tiled=tiled,
    )
    with Interrupts(), world:
        run_world(world, RunOptions.of(given), lines)


def _split(arguments: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(arguments))
    except ValueError as error:
        raise BadInput(f"--wow-extra-args cannot be read: {error}: {arguments}") from None
