"""Selects the samples of a dataset: a policy with a text form, and one pure function."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from streams.errors import BadInput

PolicyKind = Literal["all", "top", "min", "per-task", "random"]
_FORMS = "all, top:0.25, min:0.6, per-task:2 or random:0.25@0"


class Selectable(Protocol):
    """The properties that a selection uses."""

    @property
    def id(self) -> str:
        """Unique; decides random draws."""
        ...

    @property
    def task(self) -> str: ...

    @property
    def reward(self) -> float:
        """Higher is better."""
        ...

    @property
    def rank(self) -> tuple[float, int, str]:
        """Sorts best first, by the reward; unique."""
        ...


_S = TypeVar("_S", bound=Selectable)


@dataclass(frozen=True, slots=True)
class SelectionPolicy:
    """``all``; ``top`` or ``random``: a fraction ``value`` in (0, 1]; ``min``: rewards of at least ``value``;
    ``per-task``: the ``value`` best of each task. ``seed`` is for ``random``, 0 for the others.

    Its text form (``top:0.25``, ``random:0.25@7``) parses back to the same policy. Raises BadInput for
    invalid values.

    >>> str(SelectionPolicy.parse("random:0.25@7"))
    'random:0.25@7'
    """

    kind: PolicyKind = "all"
    value: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        fits = {
            "all": self.value == 1.0,
            "top": 0.0 < self.value <= 1.0,
            "random": 0.0 < self.value <= 1.0,
            "min": math.isfinite(self.value),
            "per-task": self.value >= 1 and self.value % 1 == 0,
        }
        if not fits.get(self.kind) or self.seed < 0 or (self.seed and self.kind != "random"):
            raise BadInput(f"{self}: is not a selection policy; expected {_FORMS}")

    @classmethod
    def parse(cls, text: str) -> SelectionPolicy:
        """The policy with this text form. Raises BadInput."""
        kind, _, rest = text.partition(":")
        number, _, seed = rest.partition("@")
        try:
            if text == "all":
                return cls()
            if kind == "all":
                raise ValueError
            return cls(kind, float(number), int(seed or 0))  # type: ignore[arg-type]
        except BadInput:
            raise
        except (ValueError, OverflowError):
            raise BadInput(f"{text!r} is not a selection policy; expected {_FORMS}") from None

    def __str__(self) -> str:
        if self.kind == "all":
            return "all"
        value = str(int(self.value)) if self.value % 1 == 0 else repr(self.value)
        return f"{self.kind}:{value}" + (f"@{self.seed}" if self.kind == "random" else "")


def select(samples: Iterable[_S], policy: SelectionPolicy) -> list[_S]:
    """The selected samples, best first; independent of the order of the input.

    A fraction is rounded up: ``top:0.25`` of 5 are 2, and ``random`` selects as many as ``top``. Random draws
    use a hash of seed and id, so a sample's draw does not change when more are added.
    """
    ranked = sorted(samples, key=lambda sample: sample.rank)
    if policy.kind == "top":
        return ranked[: _share(len(ranked), policy.value)]
    if policy.kind == "min":
        return [sample for sample in ranked if sample.reward >= policy.value]
    if policy.kind == "random":
        drawn = sorted(ranked, key=lambda sample: _luck(policy.seed, sample.id))
        chosen = {sample.id for sample in drawn[: _share(len(ranked), policy.value)]}
        return [sample for sample in ranked if sample.id in chosen]
    if policy.kind == "per-task":
        taken: dict[str, int] = {}
        best = []
        for sample in ranked:
            taken[sample.task] = taken.get(sample.task, 0) + 1
            if taken[sample.task] <= policy.value:
                best.append(sample)
        return best
    return ranked


def _share(n: int, fraction: float) -> int:
    # .07 · 100 is a little more than 7 in binary.
    return math.ceil(round(n * fraction, 9))


def _luck(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{sample_id}".encode()).digest()
