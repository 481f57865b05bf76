"""A list of what this machine has of everything that TriBrain can use."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
import orjson

from runner.machine import TRAINING, Machine, WowModel, look
from runner.worlds.wow.names import MODELS
from streams.errors import BadInput
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH


@click.command(
    cls=Command, epilog="Example: tribrain doctor --wow-repo WoW --wow-python python --require dit-2b"
)
@click.option("--wow-repo", type=PATH, metavar="FOLDER", help="Checkout of WoW's repository.")
@click.option(
    "--wow-python",
    default="python",
    metavar="PROGRAM",
    help="Python of WoW's own environment.",
)
@click.option(
    "--require",
    type=click.Choice([*MODELS, TRAINING]),
    help="Exit with code 1 unless this WoW model can make videos (or be trained) here.",
)
@options.as_json
def doctor(wow_repo: Path | None, wow_python: str, require: str | None, as_json: bool) -> None:
    """Check what is installed on this computer: packages, Kafka, GPUs, and what WoW's models need.

    Nothing is downloaded, loaded or changed.
    """
    if require is not None and wow_repo is None:
        raise BadInput(f"--require {require} looks into a checkout of WoW; give --wow-repo")
    machine = look(wow_repo, wow_python)
    if as_json:
        usable = {model.model: model.usable for model in machine.wow}
        click.echo(orjson.dumps({**asdict(machine), "usable": usable}))
    else:
        click.echo(_as_text(machine))
    if require is not None and not all(m.usable for m in machine.wow if m.model == require):
        sys.exit(1)


def _as_text(machine: Machine) -> str:
    kafka = machine.kafka
    rows = [
        ("TriBrain", machine.tribrain),
        ("Python", machine.python),
        *((package.name, package.version or _lacking(package.extra)) for package in machine.packages),
        ("Java", kafka.java or "none"),
        ("Apache Kafka", kafka.version or f"none: {kafka.problem}"),
        ("ffmpeg", machine.ffmpeg or "none; PyAV brings its own"),
        *(
            (f"GPU {gpu.index}", f"{gpu.name}, {gpu.memory_mib} MiB, driver {gpu.driver}")
            for gpu in machine.gpus
        ),
        *([] if machine.gpus else [("GPU", "none that nvidia-smi lists")]),
    ]
    width = max(len(name) for name, _ in rows)
    text = "\n".join(f"{name.ljust(width)}  {what}" for name, what in rows)
    for model in machine.wow:
        text += f"\n\n{_of_wow(model)}"
    return text


def _lacking(extra: str) -> str:
    return f'none; pip install -e ".[{extra}]"' if extra else "none; install TriBrain again"


def _of_wow(model: WowModel) -> str:
    lines = [f"WoW's {model.model} is {'ready.' if model.usable else 'not ready:'}"]
    lines += [f"  found: {what}" for what in model.found]
    lines += [f"  missing: {what}" for what in model.missing]
    lines += [f"  {remedy}" for remedy in model.remedies]
    lines += [f"  {problem}" for problem in model.problems]
    return "\n".join(lines)
