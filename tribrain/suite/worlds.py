"""The choice of a suite's world model, by the options of the command that runs it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from cloup import option_group

from runner.interfaces import WorldModel
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.subprocess import SubprocessWorld
from runner.worlds.wow.world import WowWorld
from streams.errors import BadInput
from tribrain.run.generator_lines import GeneratorLines
from tribrain.run.wow import wow_options, wow_world
from tribrain.shell.option_types import FiniteFloat, Seconds

_C = TypeVar("_C", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class WorldFactory:
    """The world models of the runs of a suite."""

    world: Callable[[str, Path | None, int], WorldModel]
    """Goal, first frame and seed to the world model of one run. Raises BadInput."""
    needs_image: bool


def _simulated(_stack: ExitStack, _lines: GeneratorLines, *, outcome_share: float = 0.5) -> WorldFactory:
    return WorldFactory(lambda goal, image, seed: SimulatedWorld(goal, seed, outcome_share), False)


def _subprocess(
    _stack: ExitStack, _lines: GeneratorLines, *, cmd: str, timeout_s: float = 600.0
) -> WorldFactory:
    return WorldFactory(lambda goal, image, seed: SubprocessWorld(cmd, timeout_s, image), "{image}" in cmd)


def _wow(stack: ExitStack, lines: GeneratorLines, **given: Any) -> WorldFactory:
    """A factory of one world for all runs, as a loaded pipeline stays loaded."""
    opened: list[WowWorld] = []

    def world(goal: str, image: Path | None, seed: int) -> WowWorld:
        assert image is not None
        if not opened:
            opened.append(stack.enter_context(wow_world(image, lines, **given)))
        return opened[0].with_image(image)

    return WorldFactory(world, True)


# By name: what makes it, the options that it needs, and those that it may have.
_WORLDS: dict[str, tuple[Callable[..., WorldFactory], tuple[str, ...], tuple[str, ...]]] = {
    "simulated": (_simulated, (), ("outcome_share",)),
    "subprocess": (_subprocess, ("cmd",), ("timeout_s",)),
    "wow": (
        _wow,
        ("wow_repo", "wow_model"),
        ("gpus", "wow_python", "wow_extra_args", "timeout_s", "persistent_gb", "frames", "steps", "tiled"),
    ),
}


def world_options(command: _C) -> _C:
    """Add ``--world`` and each world's options, without defaults, so that only what was given has a value."""
    return option_group(
        "World model",
        click.option(
            "--world",
            required=True,
            type=click.Choice(list(_WORLDS)),
            help="World model, as in tribrain run simulated, subprocess and wow.",
        ),
        click.option(
            "--outcome-share",
            type=FiniteFloat(0, 1),
            show_default="0.5",
            help="simulated: share of iterations with a judgement of the simulated validator.",
        ),
        click.option(
            "--cmd",
            metavar="COMMAND",
            help="subprocess: generator command; {prompt}, {out_dir}, {seed} and {image} become arguments.",
        ),
        click.option(
            "--timeout-s",
            type=Seconds(min=0, min_open=True),
            show_default="10m for subprocess, 1h for wow",
            help="subprocess, wow: time limit of one video.",
        ),
        *wow_options(required=False),
    )(command)


WORLD_OPTIONS = (
    "outcome_share",
    "cmd",
    "timeout_s",
    "wow_repo",
    "wow_model",
    "gpus",
    "wow_python",
    "wow_extra_args",
    "persistent_gb",
    "frames",
    "steps",
    "tiled",
)


def world_factory(
    world: str, given: Mapping[str, Any], stack: ExitStack, lines: GeneratorLines
) -> WorldFactory:
    """The factory of ``world`` with the WORLD_OPTIONS that were given; ``stack`` closes what it opens.

    Raises BadInput for options that are missing or of another world.
    """
    make, needed, allowed = _WORLDS[world]
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in needed:
        if name not in chosen:
            raise BadInput(f"--world {world} needs {_flag(name)}; give it, or another --world")
    for name in chosen:
        if name not in (*needed, *allowed):
            raise BadInput(f"{_flag(name)} has no effect with --world {world}; leave it out")
    return make(stack, lines, **chosen)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
