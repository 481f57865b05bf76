"""The checkpoint from which a killed training resumes: one file, complete or absent, beside the output."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from streams.errors import BadInput
from streams.files import read_bytes, sync_directory, write_atomically

_PLAN, _STATE, _FINISHED = "plan.json", "state.safetensors", "finished"
_KEY = "tribrain"


@dataclass(slots=True)
class Progress:
    """The progress of a training, apart from its tensors."""

    step: int = 0
    """Steps done."""
    losses: list[float] = field(default_factory=list)
    """Mean training loss of each step."""
    evaluations: list[tuple[int, float, float]] = field(default_factory=list)
    """(step, held-out accuracy, held-out log loss)."""
    best_step: int | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """CPU time of the first process, without evaluations."""


@dataclass(frozen=True, slots=True)
class TrainingCheckpoint:
    """``OUT.checkpoint``. Raises BadInput for any file that cannot be read or written."""

    out: Path

    @property
    def path(self) -> Path:
        return self.out.with_name(f"{self.out.name}.checkpoint")

    def check(self, plan: Mapping[str, Any], *, resume: bool) -> bool:
        """Whether ``out`` is already finished. Refuses what cannot be started or resumed. Writes nothing."""
        reward = self.out / "reward.json"
        if self.out.exists():
            if resume and reward.is_file():
                _compare(self.out, _read(reward).get("plan", {}), plan, "another --out")
                return True
            raise BadInput(f"{self.out}: already exists; choose another --out")
        if not self.path.exists():
            return False
        if not resume:
            raise BadInput(f"{self.path}: holds an unfinished training; continue with --resume, or delete it")
        if (self.path / _PLAN).is_file():
            _compare(self.path, _read(self.path / _PLAN), plan, "the same options, or delete it")
        return False

    def begin(self, plan: Mapping[str, Any]) -> None:
        try:
            write_atomically(self.path / _PLAN, orjson.dumps(plan, option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise BadInput(
                f"{self.path}: cannot be written: {error.strerror}; choose another --out"
            ) from None

    def save(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Replaces the previous checkpoint."""
        found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        content = save(found, {_KEY: orjson.dumps(asdict(progress)).decode()})
        write_atomically(self.path / _STATE, content)

    def load(self) -> tuple[Progress, dict[str, Tensor]] | None:
        """The saved progress and tensors; None if nothing was saved yet."""
        file = self.path / _STATE
        if not file.is_file():
            return None
        try:
            with safe_open(str(file), "pt") as opened:
                progress = orjson.loads(opened.metadata()[_KEY])
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, orjson.JSONDecodeError, KeyError, TypeError):
            raise BadInput(f"{file}: is damaged; delete {self.path} to start over") from None
        progress["evaluations"] = [tuple(one) for one in progress["evaluations"]]
        return Progress(**progress), tensors

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Puts the whole of ``out`` in place at once, and removes the checkpoint."""
        beside = self.path / _FINISHED
        shutil.rmtree(beside, ignore_errors=True)
        for name, content in files.items():
            write_atomically(beside / name, content)
        beside.rename(self.out)
        sync_directory(self.out.parent)
        self.remove()

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(read_bytes(file))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"{file}: the file is damaged; choose another --out")
    return found


def _compare(path: Path, found: Mapping[str, Any], plan: Mapping[str, Any], advice: str) -> None:
    given = orjson.loads(orjson.dumps(plan))
    differ = [name for name in given | dict(found) if given.get(name) != found.get(name)]
    if differ:
        was = ", ".join(f"{name} {found.get(name)} rather than {given.get(name)}" for name in differ)
        raise BadInput(f"{path}: holds a training with {was}; give {advice}")


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that later steps do not change."""
    return {name: torch.clone(tensor.detach()) for name, tensor in tensors.items()}
