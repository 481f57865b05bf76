"""One refinement run of WoW, as its users run it: from a checkout, in WoW's own environment."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from cloup.typing import Decorator

from runner.worlds.wow.checkout import Checkout
from runner.worlds.wow.models import open_world
from runner.worlds.wow.names import MODELS, ModelName
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.world import WowWorld
from streams.errors import BadInput
from tribrain.run.commands import RunOptions, fields_of, run_options, run_world
from tribrain.run.generator_lines import GeneratorLines
from tribrain.shell.command import Command
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.option_types import PATH, FiniteFloat, Integer, Seconds
from tribrain.shell.renamed import Renamed

TIMEOUT_S = 3600.0


def wow_options(*, required: bool, model: bool = True) -> list[Decorator]:
    """The options of WoW's models: what ``wow_world`` takes, but for image and time-out.

    Unless they are ``required``, one that is not given is None. Without ``model`` there is no --wow-model.
    """
    which: list[Decorator] = [
        click.option(
            "--wow-model",
            cls=Renamed,
            old=("--model",),
            required=required,
            type=click.Choice(MODELS),
            help="Which of WoW's models.",
        )
    ]
    return [
        click.option(
            "--wow-repo",
            required=required,
            type=PATH,
            metavar="FOLDER",
            help="Checkout of WoW's repository, with its checkpoints.",
        ),
        *(which if model else []),
        click.option(
            "--gpus", metavar="ID[,…]", show_default="all", help="GPUs to use, one candidate on each."
        ),
        click.option(
            "--wow-python",
            default="python" if required else None,
            metavar="PROGRAM",
            show_default="python",
            help="Python of WoW's own environment.",
        ),
        click.option(
            "--persistent-gb",
            type=FiniteFloat(min=0),
            show_default="by its memory: 70 of 80, 42 of 48, 35 of 40, 20 of 24",
            help="Wan: GB of the transformer's weights kept on the GPU; the rest is loaded in each step.",
        ),
        click.option(
            "--frames",
            type=Integer(min=1),
            show_default="81 for Wan, 121 for dit-7b",
            help="Wan, dit-7b: frames per video.",
        ),
        click.option(
            "--steps",
            type=Integer(min=1),
            show_default="30 for Wan, 35 for dit-7b",
            help="Wan, dit-7b: denoising steps.",
        ),
        click.option(
            "--tiled/--no-tiled",
            default=None,
            show_default="tiled",
            help="Wan: decode frames in tiles, which takes less memory.",
        ),
        click.option(
            "--wow-extra-args",
            default="" if required else None,
            metavar="ARGUMENTS",
            show_default=False,
            help="Further arguments of the generator's command.",
        ),
    ]


def wow_world(image: Path, lines: GeneratorLines, *, wow_model: ModelName, **given: Any) -> WowWorld:
    """The world model, which the caller closes; ``given`` are arguments of ``wow_settings``.

    Raises BadInput that names everything that is missing.
    """
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
    """WoW's settings from the options; ``chosen`` are those of some models only. Raises BadInput."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WowRunOptions:
    """The values of the command's options, by their names."""

    wow_repo: Path
    wow_model: ModelName
    image: Path
    gpus: str | None
    wow_python: str
    wow_extra_args: str
    timeout_s: float
    persistent_gb: float | None
    frames: int | None
    steps: int | None
    tiled: bool | None
    run: RunOptions

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> WowRunOptions:
        own, rest = fields_of(cls, given)
        return cls(run=RunOptions.of(rest), **own)


@click.command(
    cls=Command,
    epilog="Example: tribrain run wow --wow-repo WoW --wow-model dit-2b --image first.png "
    "--prompt 'pour the tea' --candidates 4 --gpus 0,1 --out runs/tea",
)
@run_options(
    *wow_options(required=True),
    click.option(
        "--image",
        required=True,
        type=PATH,
        metavar="FILE",
        help="First frame: an image, or a video that starts with it.",
    ),
    click.option(
        "--timeout-s",
        type=Seconds(min=0, min_open=True),
        default="1h",
        help="Time limit of one video, loading the model included.",
    ),
    name_on_kafka="--reward-model",
)
def run_wow(**given: Any) -> None:
    """Refine a video with a WoW model: dit-2b, dit-7b, wan-14b or wan-1.3b.

    Whatever is missing is reported before anything is generated. A generator's output goes to generator.log
    beside its video, and its newest line is shown. Ctrl-C also stops the generator.
    """
    chosen = WowRunOptions.of(given)
    lines = GeneratorLines()
    world = wow_world(
        chosen.image,
        lines,
        wow_repo=chosen.wow_repo,
        wow_model=chosen.wow_model,
        gpus=chosen.gpus,
        wow_python=chosen.wow_python,
        wow_extra_args=chosen.wow_extra_args,
        timeout_s=chosen.timeout_s,
        persistent_gb=chosen.persistent_gb,
        frames=chosen.frames,
        steps=chosen.steps,
        tiled=chosen.tiled,
    )
    with Interrupts(), world:
        run_world(world, chosen.run, lines)


def _split(arguments: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(arguments))
    except ValueError as error:
        raise BadInput(f"--wow-extra-args cannot be read: {error}: {arguments}") from None
