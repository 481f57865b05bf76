"""Which world model a suite runs, by the options of the command that runs it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from runner.interfaces import WorldModel
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.subprocess import SubprocessWorld
from streams.errors import BadInput
from tribrain import options
from tribrain.generator_lines import GeneratorLines
from tribrain.wow import wow_options, wow_world

WorldFactory = Callable[[str, Path, int], AbstractContextManager[WorldModel]]
"""Goal, first frame and seed to the world model of one run, which is closed after it."""


def _simulated(_lines: GeneratorLines, *, outcome_share: float = 0.5) -> WorldFactory:
    return lambda goal, image, seed: nullcontext(SimulatedWorld(goal, seed, outcome_share))


def _subprocess(_lines: GeneratorLines, *, cmd: str, timeout_s: float = 600.0) -> WorldFactory:
    return lambda goal, image, seed: nullcontext(SubprocessWorld(cmd, timeout_s, image))


def _wow(lines: GeneratorLines, **given: Any) -> WorldFactory:
    return lambda goal, image, seed: wow_world(image, lines, **given)


# By name: what makes it, the options that it needs, and those that it may have.
_WORLDS: dict[str, tuple[Callable[..., WorldFactory], tuple[str, ...], tuple[str, ...]]] = {
    "simulated": (_simulated, (), ("outcome_share",)),
    "subprocess": (_subprocess, ("cmd",), ("timeout_s",)),
    "wow": (
        _wow,
        ("wow_repo", "wow_model"),
        ("gpus", "wow_python", "wow_extra_args", "timeout_s"),
    ),
}
_FLAGS = {"wow_model": "--model"}


def world_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--world``, and what each of them takes; none has a default here, so that it shows what was given."""
    command = wow_options(required=False)(command)
    for option in reversed(
        [
            click.option(
                "--world",
                required=True,
                type=click.Choice(list(_WORLDS)),
                help="The world model, as run-simulated, run-subprocess and run-wow run it.",
            ),
            click.option(
                "--outcome-share",
                type=options.FiniteFloat(0, 1),
                help="simulated: share of iterations that the validator judges.  [default: 0.5]",
            ),
            click.option(
                "--cmd",
                help="subprocess: generator; {prompt}, {out_dir}, {seed} and {image} are put in.",
            ),
            click.option(
                "--timeout-s",
                type=options.FiniteFloat(min=0, min_open=True),
                help="subprocess, wow: longest time of one generation.  [default: 600, 3600]",
            ),
        ]
    ):
        command = option(command)
    return command


WORLD_OPTIONS = (
    "outcome_share",
    "cmd",
    "timeout_s",
    "wow_repo",
    "wow_model",
    "gpus",
    "wow_python",
    "wow_extra_args",
)


def world_factory(world: str, given: Mapping[str, Any], lines: GeneratorLines) -> WorldFactory:
    """The factory of ``world``, of those of WORLD_OPTIONS that were given. Raises BadInput for others."""
    make, needed, allowed = _WORLDS[world]
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in needed:
        if name not in chosen:
            raise BadInput(f"--world {world} needs {_flag(name)}; give it, or another --world")
    for name in chosen:
        if name not in (*needed, *allowed):
            raise BadInput(f"{_flag(name)} is of no use with --world {world}; leave it out")
    return make(lines, **chosen)


def _flag(name: str) -> str:
    return _FLAGS.get(name, "--" + name.replace("_", "-"))
