"""The folder of one run: what it holds, and whether it may be written to or removed."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import msgspec
import orjson

from runner.loop.rescored_so_far import NAME as RESCORING
from runner.loop.shared_controller import ADDED, BEGUN
from runner.worlds.kept import NAME, empty, end_programs, files_of_others
from runner.worlds.process import LOCK_NAME
from streams.errors import BadInput
from streams.files import read_bytes
from streams.spool.place import PLACES, SPOOL
from tribrain.run.plan import CONFIG_NAME, PLAN_NAME, PLAN_SCHEMA, RunPlan, differences
from tribrain.shell.output import cannot_write, write_output

RUN_LOCK = "run.lock"
_TRACE = "trace.jsonl"
_CANDIDATE = re.compile(r"iter_(\d{2,})")
_RECORDED = re.compile(rb'"iter_idx":\s*(\d+)')


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run, held by this process. Raises BadInput for what cannot be read or written."""

    path: Path

    def require_own(self, *, fresh: bool) -> None:
        """Raises BadInput where a run would overwrite what no run has written.

        Without ``fresh``, also where the plan of a run is not known, as that run cannot go on.
        """
        trace = self.path / _TRACE
        if not fresh and not (self.path / PLAN_NAME).is_file() and trace.exists():
            raise BadInput(
                f"{trace}: already exists, and one trace holds one run; choose another --out, or begin anew "
                "with --fresh"
            )
        if not fresh and not (self.path / PLAN_NAME).is_file() and self._holds_a_run():
            raise BadInput(
                f"{self.path}: holds what is left of a run; choose another --out, or begin anew with --fresh"
            )
        if not self._holds_a_run() and (others := self._others()):
            raise BadInput(f"{self.path}: is not empty ({others[0]}) and holds no run; choose another --out")
        recorded = self._recorded_indices()
        for folder in self._candidates():
            if not _is_of_a_run(folder, recorded):
                raise BadInput(
                    f"{folder}: holds what no run has written, where a run puts its videos; move it, or "
                    "choose another --out"
                )
            if fresh and (foreign := files_of_others(folder)):
                raise BadInput(
                    f"{foreign[0]}: no run has written it, and --fresh would remove it; move it, or choose "
                    "another --out"
                )

    def begin(self, plan: RunPlan, *, run_id: str | None, fresh: bool) -> RunPlan:
        """Start or continue a run; the plan in force. ``run_id`` is one that the user chose."""
        if fresh:
            self._clear(run_id)
        if (found := self.begun(plan, run_id)) is not None:
            return found
        write_output(self.path / PLAN_NAME, orjson.dumps(plan, option=orjson.OPT_INDENT_2))
        return plan

    def begun(self, plan: RunPlan, run_id: str | None) -> RunPlan | None:
        """The plan of the run that is there, or None. Raises BadInput where it differs from ``plan``."""
        if not (self.path / PLAN_NAME).is_file():
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
        """Number of whole lines in the trace."""
        trace = self.path / _TRACE
        return read_bytes(trace).count(b"\n") if trace.is_file() else 0

    def _plan(self) -> RunPlan:
        path = self.path / PLAN_NAME
        try:
            plan = msgspec.json.decode(read_bytes(path), type=RunPlan)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: the file is damaged: {error}; begin anew with --fresh") from None
        if plan.schema != PLAN_SCHEMA:
            raise BadInput(f"{path}: schema is {plan.schema!r}; this version reads {PLAN_SCHEMA!r}")
        return plan

    def _holds_a_run(self) -> bool:
        return any((self.path / name).exists() for name in (PLAN_NAME, _TRACE, BEGUN))

    def _others(self) -> list[str]:
        """Names of what is there, but for hidden files, the lock, and events that are still to be sent."""
        names = sorted(path.name for path in self.path.glob("*"))
        return [
            name for name in names if not name.startswith((".", SPOOL)) and name not in (RUN_LOCK, PLACES)
        ]

    def _candidates(self) -> list[Path]:
        return sorted(path for path in self.path.glob("iter_*") if _CANDIDATE.fullmatch(path.name))

    def _recorded_indices(self) -> Set[int]:
        """Indices of the candidates in the trace, which may be damaged."""
        trace = self.path / _TRACE
        return {int(idx) for idx in _RECORDED.findall(read_bytes(trace))} if trace.is_file() else set()

    def _clear(self, run_id: str | None) -> None:
        """Remove what a run writes, but for its spool, whose events are still to be sent."""
        if not self._holds_a_run():
            return
        plan, recorded = self.path / PLAN_NAME, self._recorded_indices()
        if run_id is not None and plan.is_file() and self._plan().run_id == run_id:
            raise BadInput(
                f"--run-id {run_id}: was the name of the run before, for which its events would be taken; "
                "give another one"
            )
        folders = [folder for folder in self._candidates() if _is_of_a_run(folder, recorded)]
        for folder in folders:
            end_programs(folder)
        rewards = self.path / "rewards"
        try:
            # In this order, half of a run cannot go on, and is still recognised as what is left of one.
            for name in (_TRACE, PLAN_NAME, CONFIG_NAME, ADDED, RESCORING):
                (self.path / name).unlink(missing_ok=True)
            for folder in folders:
                empty(folder)
                folder.rmdir()
            for snapshot in rewards.glob("from_*.json"):
                snapshot.unlink()
            if rewards.is_dir() and not any(rewards.iterdir()):
                rewards.rmdir()
            (self.path / BEGUN).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from None


def _is_of_a_run(folder: Path, recorded: Set[int]) -> bool:
    """Whether a candidate was or could be made there; ``recorded`` are the indices in the run's trace."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return NAME in names or names <= {LOCK_NAME} or int(folder.name.removeprefix("iter_")) in recorded
