"""Training, validation and test splits by task, decided by the task's name alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

from streams.errors import BadInput

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitShares:
    """The expected fractions of the tasks; the rest is for training. Raises BadInput if nothing is left."""

    validation: float = 0.0
    test: float = 0.0

    def __post_init__(self) -> None:
        if not (self.validation >= 0.0 and self.test >= 0.0 and self.validation + self.test < 1.0):
            raise BadInput(
                f"validation {self.validation:g} and test {self.test:g} leave nothing to train on; "
                "expected shares of at least 0 whose sum is below 1"
            )

    def split_of(self, task: str) -> Split:
        """The split of a task, which never changes, whatever runs or other tasks are added."""
        place = int.from_bytes(hashlib.sha256(f"split\0{task}".encode()).digest()[:8]) / 2**64
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"
