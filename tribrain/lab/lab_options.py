"""Options that the experiments share, and what --dry-run prints of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from tribrain.lab.folder import ExperimentFolder
from tribrain.shell.dry_run import say_plan
from tribrain.shell.option_types import Integer

_C = TypeVar("_C", bound=Callable[..., Any])

first_seed = click.option("--first-seed", type=Integer(min=0), default=0, help="First random seed.")
processes = click.option(
    "--processes", type=Integer(min=1), show_default="one per core", help="Number of processes."
)


def say_experiment_plan(
    folder: ExperimentFolder[Any],
    plan: Mapping[str, object],
    seeds: Sequence[int],
    parts: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Print what an experiment would do, for ``--dry-run``. Raises BadInput for a folder of another plan."""
    verb = "go on with" if folder.begun(plan) else "begin"
    facts = {
        "out": str(folder.path),
        "first_seed": seeds[0],
        "seeds": len(seeds),
        "parts": len(seeds) * len(parts),
        "finished": folder.finished(seeds, parts),
    }
    say_plan(f"would {verb} an experiment in {folder.path}", facts, as_json=as_json)


def seeds(default: int) -> Callable[[_C], _C]:
    return click.option(
        "--seeds",
        type=Integer(min=2),
        default=default,
        help="Number of random seeds; may be larger when the command is repeated.",
    )
