"""The folder of an experiment: its plan, and a file for each part of a seed that is finished.

Files are whole or absent, so whatever ends an experiment, the same command continues it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import orjson

from streams.errors import BadInput
from tribrain.shell.output import write_output

_PLAN, _UNITS = "plan.json", "units"

Unit = tuple[int, str]
"""A seed, and the name of one of its parts, such as a condition."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ExperimentFolder(Generic[Result]):
    """The folder of an experiment. Raises BadInput for whatever cannot be read or written."""

    path: Path
    schema: str
    """Schema of the experiment, with its version."""
    kind: type[Result]
    """Type of a unit's result: a dataclass."""

    def begin(self, plan: Mapping[str, object]) -> None:
        """Write the plan, unless the experiment has ``begun``."""
        if not self.begun(plan):
            given = {"schema": self.schema, **plan}
            write_output(self.path / _PLAN, orjson.dumps(given, option=orjson.OPT_INDENT_2))

    def begun(self, plan: Mapping[str, object]) -> bool:
        """Whether this plan is there already; a folder of another plan, or of something else, is refused.

        More seeds make no other plan, as each is independent of the others.
        """
        given = {"schema": self.schema, **plan}
        file = self.path / _PLAN
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path}: is a file; choose another --out")
        if file.is_file():
            found = _read_plan(file)
            differ = [name for name in given | found if given.get(name) != found.get(name)]
            if differ:
                was = ", ".join(f"{name} {found.get(name)} rather than {given.get(name)}" for name in differ)
                raise BadInput(f"{self.path}: holds an experiment with {was}; choose another --out")
            return True
        if self.path.exists() and any(self.path.iterdir()):
            raise BadInput(f"{self.path}: holds files that are not of an experiment; choose another --out")
        return False

    def finished(self, seeds: Iterable[int], parts: Collection[str]) -> int:
        """Number of parts of these seeds that are finished."""
        return sum(self.is_finished((seed, part)) for seed in seeds for part in parts)

    def is_finished(self, unit: Unit) -> bool:
        return self._file(*unit).is_file()

    def write(self, unit: Unit, result: Result) -> None:
        write_output(self._file(*unit), msgspec.json.encode(result))

    def read(self, units: Iterable[Unit]) -> list[Result]:
        return [_read_result(self._file(*unit), self.kind) for unit in units]

    def _file(self, seed: int, part: str) -> Path:
        return self.path / _UNITS / f"seed-{seed:03d}-{part.replace(' ', '-')}.json"


def _read_plan(file: Path) -> dict[str, object]:
    try:
        plan = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError:
        plan = None
    if not isinstance(plan, dict):
        raise BadInput(f"{file}: the file is damaged; choose another --out")
    return plan


def _read_result(file: Path, kind: type[Result]) -> Result:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: the file is damaged: {error}; delete it to have it computed again") from None
