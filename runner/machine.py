"""Finds what TriBrain can use on this machine, without fetching, loading or changing anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from packaging.requirements import Requirement

from runner.worlds.process import last_line
from runner.worlds.wow.checkout import Checkout, interpreter
from runner.worlds.wow.names import MODELS, ModelName
from runner.worlds.wow.needed import Needed
from streams.errors import BadInput
from streams.local_broker.jars import NoKafka, find_kafka
from trainers.extras import require_extra

TRAINING: Final = "train-wow-wan"
"""Name of the fine-tuning of wan-14b, ``data finetune --train wow-wan``, among WoW's models."""
_PROBE_S = 300.0
"""Importing PyTorch from a cold network disk takes minutes."""
_GPU_QUERY = ("index", "name", "memory.total", "driver_version")
# Runs in WoW's environment, and prints what it can import as one JSON object on its own line.
_PROBE = """
import importlib, json, sys
sys.path[:0] = sys.argv[2:]
found = {"cuda_devices": 0, "problems": {}}
for name, wanted in json.loads(sys.argv[1]).items():
    try:
        module = importlib.import_module(name)
        lacking = [one for one in wanted if not hasattr(module, one)]
        if lacking:
            found["problems"][name] = "it has no " + ", ".join(lacking)
        if name == "torch":
            found["cuda_devices"] = module.cuda.device_count()
    except Exception as error:
        found["problems"][name] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(found))
"""
# Module to the names that are used from it. The scripts of the other models report themselves what they lack.
_OF_WAN: dict[str, tuple[str, ...]] = {
    "torch": (),
    "diffsynth": ("ModelManager", "WanVideoPipeline", "save_video"),
    "PIL.Image": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    name: str
    version: str | None
    extra: str
    """The extra that needs it; empty for the base package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    index: int
    name: str
    memory_mib: int
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaFound:
    version: str | None
    java: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WowModel:
    """Whether a model of WoW can make a video here, or be trained."""

    model: ModelName | Literal["train-wow-wan"]
    found: tuple[str, ...]
    """Its folders, relative to the checkout."""
    missing: tuple[str, ...]
    """What the checkout lacks …"""
    remedies: tuple[str, ...]
    """… and where to get it."""
    problems: tuple[str, ...]
    """What is wrong with the files found, and what the interpreter lacks."""

    @property
    def usable(self) -> bool:
        return not self.missing and not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    python: str
    tribrain: str
    packages: tuple[Package, ...]
    kafka: KafkaFound
    ffmpeg: str | None
    gpus: tuple[Gpu, ...]
    wow: tuple[WowModel, ...]
    """Empty if no checkout of WoW was given."""


def look(wow_repo: Path | None, wow_python: str, models: Sequence[ModelName] = MODELS) -> Machine:
    """Inspect this machine and, in a checkout of WoW, what ``models`` need."""
    checkout = Checkout.at(wow_repo) if wow_repo is not None else None
    return Machine(
        python=sys.version.split()[0],
        tribrain=metadata.version("tribrain"),
        packages=packages(),
        kafka=_kafka(),
        ffmpeg=shutil.which("ffmpeg"),
        gpus=_gpus(),
        wow=_of_checkout(checkout, interpreter(wow_python), models) if checkout is not None else (),
    )


_EXTRAS = ("data", "lora")
"""All extras except those of tests."""


def packages() -> tuple[Package, ...]:
    """The requirements of TriBrain and its extras, with their installed versions."""
    found = []
    for line in metadata.requires("tribrain") or ():
        requirement = Requirement(line)
        extra = _extra_of(requirement)
        if extra in ("", *_EXTRAS):
            found.append(Package(name=requirement.name, version=_version(requirement.name), extra=extra))
    return tuple(found)


def gpus_in(table: str) -> tuple[Gpu, ...]:
    """The GPUs that ``nvidia-smi`` lists as comma-separated values without header and units."""
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines() if line.strip()]
    return tuple(
        Gpu(index=int(index), name=name, memory_mib=int(memory) if memory.isdecimal() else 0, driver=driver)
        for index, name, memory, driver in rows
    )


def _extra_of(requirement: Requirement) -> str:
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return ""
    return next((extra for extra in _EXTRAS if requirement.marker.evaluate({"extra": extra})), "other")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _kafka() -> KafkaFound:
    try:
        jars = find_kafka(fetch=False)
    except NoKafka as reason:
        return KafkaFound(version=None, java=shutil.which("java"), problem=str(reason))
    return KafkaFound(version=jars.version, java=str(jars.java))


def _gpus() -> tuple[Gpu, ...]:
    query = f"--query-gpu={','.join(_GPU_QUERY)}"
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return gpus_in(done.stdout) if done.returncode == 0 else ()


def _of_checkout(checkout: Checkout, python: str, models: Sequence[ModelName]) -> tuple[WowModel, ...]:
    if not checkout.repo.is_dir():
        missing = (f"repository {checkout.repo}",)
        nothing = WowModel(model=TRAINING, found=(), missing=missing, remedies=(), problems=())
        return (*(replace(nothing, model=model) for model in models), nothing)
    return (*(_wow(checkout, model, python) for model in models), _training(checkout, python))


def _wow(checkout: Checkout, model: ModelName, python: str) -> WowModel:
    missing = checkout.missing(model)
    is_wan = model.startswith("wan")
    modules = _OF_WAN if is_wan else {"torch": ()}
    further = [str(checkout.diffsynth)] if is_wan else []
    scripts = [checkout.script(model)] if checkout.script(model).is_file() else []
    return WowModel(
        model=model,
        found=checkout.found(model),
        missing=tuple(map(_in_short, missing)),
        remedies=_remedies(missing),
        problems=(
            *checkout.problems(model),
            *_interpreter_problems(checkout, model, python, modules, further, scripts),
        ),
    )


def _training(checkout: Checkout, python: str) -> WowModel:
    """The training of wan-14b, with the videos on which its checkpoints are compared."""
    missing = [need for need in checkout.needed_to_finetune() if not need.is_there]
    of = checkout.training_scripts
    scripts = [script for script in (of.encode, of.train) if script.is_file()]
    return WowModel(
        model=TRAINING,
        found=tuple(str(script.relative_to(checkout.repo)) for script in scripts),
        missing=tuple(map(_in_short, missing)),
        remedies=_remedies(missing),
        problems=(
            *_extra_problems(),
            *checkout.finetuning_problems(),
            *_interpreter_problems(checkout, "wan-14b", python, _OF_WAN, [str(checkout.diffsynth)], scripts),
        ),
    )


def _extra_problems() -> list[str]:
    """What this program lacks to build the dataset of a training."""
    try:
        require_extra("data")
    except BadInput as problem:
        return [str(problem)]
    return []


def _remedies(missing: Sequence[Needed]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(need.remedy for need in missing if need.remedy))


def _in_short(need: Needed) -> str:
    only = "" if need.lack == "is missing" else f" {need.lack}"
    return f"{need.what} {need.path}{only}"


def _interpreter_problems(
    checkout: Checkout,
    model: ModelName,
    python: str,
    modules: Mapping[str, tuple[str, ...]],
    further: Sequence[str],
    scripts: Sequence[Path],
) -> list[str]:
    if shutil.which(python) is None:
        return [f"interpreter {python} is not a program that can be run"]
    done = _run(checkout, model, [python, "-c", _PROBE, json.dumps(modules), *further])
    if isinstance(done, str):
        return [f"interpreter {python} cannot be asked: {done}"]
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        return [f"interpreter {python} cannot be asked: {error}"]
    problems = [f"{python} cannot use {name}: {why}" for name, why in found["problems"].items()]
    if not problems and found["cuda_devices"] == 0:
        problems.append(f"{python} sees no GPU")
    if problems:
        return problems
    for script in scripts:
        # The script imports everything before it reads its arguments.
        done = _run(checkout, model, [python, str(script), "--help"])
        if why := done if isinstance(done, str) else _ended(done):
            problems.append(f"{script} does not start: {why}")
    return problems


def _ended(done: subprocess.CompletedProcess[str]) -> str:
    """How a program failed; empty if it succeeded."""
    return (last_line(done.stderr) or f"it ends with status {done.returncode}") if done.returncode else ""


def _run(
    checkout: Checkout, model: ModelName, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str] | str:
    """The finished program in WoW's environment, or why it could not run."""
    folder = checkout.folder(model)
    try:
        return subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            cwd=folder if folder.is_dir() else None,
            env=checkout.environment(model, arguments[0], None, os.environ),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
