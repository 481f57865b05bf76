"""What decides how a run comes out: kept in its folder as ``run.json``, so that only the same goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from runner.loop.shared_controller import ADDED, BEGUN
from runner.worlds.group_lock import end_left_behind
from runner.worlds.process import LOCK_NAME
from streams.errors import BadInput
from streams.files import read_bytes
from tribrain.shell.output import write_output

_SCHEMA = "tribrain.run/1"
_PLAN, _TRACE = "run.json", "trace.jsonl"
_SUITE_PLAN = "suite.json"
CONFIG_NAME = "config.toml"
"""What the folder of a run, or of a suite, keeps of its options."""

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
"""Options that may be others when a run or a suite goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """``run.json``. A run goes on only with the same settings, of the same world model."""

    run_id: str
    world: str
    settings: dict[str, Any]
    schema: str = _SCHEMA


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they can be compared, without HOW_IT_RUNS; of files that are read, what is in them."""
    settings = {name: value for name, value in given.items() if name not in HOW_IT_RUNS}
    settings["published"] = given["bootstrap_servers"] is not None
    if isinstance(settings.get("preference_rm"), str):
        settings["preference_rm"] = None  # a name on Kafka, as ``model`` is
    for name in ("controller", "text_rm"):
        if (path := settings.get(name)) is not None and Path(path).is_file():
            settings[name] = f"sha256 {hashlib.sha256(read_bytes(Path(path))).hexdigest()}"
    plain: dict[str, Any] = orjson.loads(orjson.dumps(settings, default=str))
    return plain


def settings_in(run_dir: Path) -> dict[str, Any]:
    """What the folder of a run, or the suite that it is of, says of how it was run; else nothing.

    Raises BadInput.
    """
    for path in (run_dir / _PLAN, run_dir.absolute().parent.parent / _SUITE_PLAN):
        if path.is_file():
            try:
                return msgspec.json.decode(read_bytes(path), type=_Settings).settings
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise BadInput(f"{path}: the file is damaged: {error}") from None
    return {}


class _Settings(msgspec.Struct):
    settings: dict[str, Any]


def differences(found: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """In words, each setting that is not as it was."""
    pairs = {name: (found.get(name), given.get(name)) for name in {**found, **given}}
    return [f"{name} {was!r} rather than {is_!r}" for name, (was, is_) in pairs.items() if was != is_]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run, held by this process. Raises BadInput for what cannot be read or written."""

    path: Path

    def require_own(self) -> None:
        """Raises BadInput where there is a trace of which the plan is not known."""
        trace = self.path / _TRACE
        if trace.exists() and not (self.path / _PLAN).is_file():
            raise BadInput(
                f"{trace}: already exists, and one trace holds one run; choose another --out, or begin anew "
                "with --fresh"
            )

    def begin(self, plan: RunPlan, *, run_id: str | None, fresh: bool) -> RunPlan:
        """Start or go on; gives the plan that is in force. ``run_id`` is one that the user chose."""
        if fresh:
            self._clear(run_id)
        if (found := self.begun(plan, run_id)) is not None:
            return found
        write_output(self.path / _PLAN, orjson.dumps(plan, option=orjson.OPT_INDENT_2))
        return plan

    def begun(self, plan: RunPlan, run_id: str | None) -> RunPlan | None:
        """The plan of a run that is there. Raises BadInput where it is not the same as this one."""
        if not (self.path / _PLAN).is_file():
            return None
        found = self._plan()
        named = {"run id": run_id or found.run_id, "world": plan.world, **plan.settings}
        was = {"run id": found.run_id, "world": found.world, **found.settings}
        if different := differences(was, named):
            raise BadInput(
                f"{self.path}: holds a run with {'; '.join(different)}; go on with the options that it "
                "was begun with, choose another --out, or begin anew with --fresh"
            )
        return found

    def recorded(self) -> int:
        """Lines in the trace, of which a cut-off one is none."""
        trace = self.path / _TRACE
        return read_bytes(trace).count(b"\n") if trace.is_file() else 0

    def _plan(self) -> RunPlan:
        path = self.path / _PLAN
        try:
            plan = msgspec.json.decode(read_bytes(path), type=RunPlan)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: the file is damaged: {error}; begin anew with --fresh") from None
        if plan.schema != _SCHEMA:
            raise BadInput(f"{path}: schema is {plan.schema!r}; this version reads {_SCHEMA!r}")
        return plan

    def _clear(self, run_id: str | None) -> None:
        """Remove what a run leaves, but for its spool, whose events are still to be sent."""
        if not any((self.path / name).exists() for name in (_PLAN, _TRACE)):
            return
        if run_id is not None and (self.path / _PLAN).is_file() and self._plan().run_id == run_id:
            raise BadInput(
                f"--run-id {run_id}: was the name of the run before, for which its events would be taken; "
                "give another one"
            )
        folders = [path for path in self.path.glob("iter_*") if path.is_dir() and not path.is_symlink()]
        for folder in folders:
            end_left_behind(folder / LOCK_NAME)
        for name in (
            _TRACE,
            _PLAN,
            CONFIG_NAME,
            BEGUN,
            ADDED,
        ):  # in this order: half of it is again no run, or the same
            (self.path / name).unlink(missing_ok=True)
        for folder in [*folders, self.path / "rewards"]:
            shutil.rmtree(folder, ignore_errors=True)
