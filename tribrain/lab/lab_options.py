"""Options that the experiments share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tribrain.shell.option_types import Integer

_C = TypeVar("_C", bound=Callable[..., Any])

first_seed = click.option("--first-seed", type=Integer(min=0), default=0, help="First random seed.")
processes = click.option(
    "--processes", type=Integer(min=1), show_default="one per core", help="Number of processes."
)


def seeds(default: int) -> Callable[[_C], _C]:
    return click.option(
        "--seeds",
        type=Integer(min=2),
        default=default,
        help="Number of random seeds; may be larger when the command is repeated.",
    )
