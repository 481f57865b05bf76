"""Saves and compares the options that decide a run's outcome, so that only the same run goes on."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from streams.errors import BadInput
from streams.files import read_bytes
from streams.messages.files import read_snapshot
from tribrain.run.refinement import PUBLISHED_TEXTS

PLAN_SCHEMA = "tribrain.run/1"
PLAN_NAME = "run.json"
_SUITE_PLAN = "suite.json"
CONFIG_NAME = "config.toml"
"""Name of the file in which the folder of a run, or of a suite, keeps its options."""

_READ = ("checkpoint", "controller", "image", "preference_rm", "text_rm")
"""Options that name a file or folder whose contents are compared."""

HOW_IT_RUNS = (
    "as_json",
    "bootstrap_servers",
    "critic_timeout_s",
    "dry_run",
    "fresh",
    "gpus",
    "max_failures",
    "metrics_file",
    "metrics_host",
    "metrics_port",
    "model",
    "persistent_gb",
    "out",
    "run_id",
    "spool_dir",
    "text_base_model",
    "timeout_s",
    "wow_python",
)
"""Options that may differ when a run or a suite goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """``run.json``. A run goes on only with the same settings, of the same world model."""

    run_id: str
    world: str
    settings: dict[str, Any]
    schema: str = PLAN_SCHEMA


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options in a form to compare, without HOW_IT_RUNS; files that are read count by their contents.

    Other paths are absolute and without links, so that one folder has one spelling.
    """
    settings = {
        name: os.path.realpath(value) if isinstance(value, Path) else value
        for name, value in given.items()
        if name not in HOW_IT_RUNS
    }
    settings["published"] = given["bootstrap_servers"] is not None
    if isinstance(given.get("preference_rm"), str):
        settings["preference_rm"] = None  # a name on Kafka, as ``model`` is
    for name in _READ:
        path = settings.get(name)
        if path is not None and path not in PUBLISHED_TEXTS and Path(path).exists():
            settings[name] = contents_of([Path(path)])
            if name == "preference_rm":
                settings[name] = {"version": read_snapshot(Path(path)).version, "contents": settings[name]}
    plain: dict[str, Any] = orjson.loads(orjson.dumps(settings, default=str))
    return plain


def contents_of(paths: Iterable[Path]) -> str:
    """A hash of the contents of these files and folders, wherever they are. Raises BadInput."""
    contents = hashlib.sha256()
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in inside:
            contents.update(f"{file.relative_to(path).as_posix()}\0".encode())
            contents.update(hashlib.sha256(read_bytes(file)).digest())
    return f"sha256 {contents.hexdigest()}"


def settings_in(run_dir: Path) -> dict[str, Any]:
    """The settings recorded in the folder of a run, or of its suite; empty where there are none.

    Raises BadInput.
    """
    for path in (run_dir / PLAN_NAME, run_dir.absolute().parent.parent / _SUITE_PLAN):
        if path.is_file():
            try:
                return msgspec.json.decode(read_bytes(path), type=_Settings).settings
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise BadInput(f"{path}: the file is damaged: {error}") from None
    return {}


class _Settings(msgspec.Struct):
    settings: dict[str, Any]


def differences(found: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Each changed setting, in words; a newer version of a reward, which may come in a run, is no change."""
    pairs = {name: (found.get(name), given.get(name)) for name in {**found, **given}}
    return [
        f"{name} {was!r} rather than {is_!r}"
        for name, (was, is_) in pairs.items()
        if was != is_ and not _is_newer(was, is_)
    ]


def _is_newer(was: object, is_: object) -> bool:
    if not (isinstance(was, Mapping) and isinstance(is_, Mapping)):
        return False
    return bool(was.get("version", math.inf) < is_.get("version", -math.inf))
