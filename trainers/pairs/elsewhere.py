"""Tracks candidates whose trusted labels were learnt under the name of another task.

The same candidates may be labelled as those of their run, as those of its task, and in a vote on two runs.
Whichever comes first is evidence. The others are predicted by a model that has learnt it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.messages.contracts import PreferencePair
from trainers.pairs.forgotten import ForgottenNames
from trainers.pairs.seen import REMEMBERED, hashed
from trainers.pairs.weights import task_of

_SEVERAL = ""


def other_names_of(pair: PreferencePair) -> tuple[str, ...]:
    """What a pair's candidates belong to besides ``task_of``: the task of its run, or the runs of a vote on
    two."""
    own = task_of(pair)
    return tuple(name for name in dict.fromkeys((pair.task_id, *_runs_of(pair))) if name and name != own)


class Elsewhere:
    """Runs and tasks of whose candidates something was learnt under another name.

    Beyond ``remembered``, the oldest are forgotten; these count as learnt under any other name.
    """

    def __init__(self) -> None:
        self._learnt_under: dict[str, str] = {}
        """A run or task to the one under whose name it was learnt, as hashes; or to ``_SEVERAL``."""
        self._lost = ForgottenNames()

    def __bool__(self) -> bool:
        """Whether anything was learnt under another name."""
        return bool(self._learnt_under)

    def knows(self, pair: PreferencePair) -> bool:
        """Whether labels of its candidates were learnt under another name than its own."""
        if not self._learnt_under:
            return False
        own = hashed(task_of(pair))
        keys = [hashed(name) for name in _runs_of(pair)] or [own]
        return any(self._learnt_under.get(key, own) != own or key in self._lost for key in keys)

    def note(self, other_name: str, pair: PreferencePair, remembered: int = REMEMBERED) -> None:
        """Note that a trusted label was learnt of candidates that also belong to ``other_name``."""
        key, own = hashed(other_name), hashed(task_of(pair))
        under = self._learnt_under.get(key)
        if under is None:
            self._add(key, own, remembered)
        elif under != own:
            self._learnt_under[key] = _SEVERAL

    def take_in(self, later: Elsewhere, remembered: int = REMEMBERED) -> None:
        """Add the knowledge of another, which comes after this one."""
        self._lost.take_in(later._lost)
        for key, under in later._learnt_under.items():
            before = self._learnt_under.get(key, under)
            self._add(key, under if before == under else _SEVERAL, remembered)

    def copy(self) -> Elsewhere:
        """A separate copy of the knowledge."""
        copied = Elsewhere()
        copied._learnt_under = dict(self._learnt_under)
        copied._lost = self._lost.copy()
        return copied

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``."""
        return {
            "names": list(self._learnt_under),
            "learnt_under": list(self._learnt_under.values()),
            "lost": self._lost.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Elsewhere:
        """The knowledge with this state. Raises ValueError."""
        elsewhere = cls()
        elsewhere._learnt_under = dict(
            zip(map(str, state["names"]), map(str, state["learnt_under"]), strict=True)
        )
        elsewhere._lost = ForgottenNames.from_state(state["lost"])
        return elsewhere

    def _add(self, key: str, under: str, remembered: int) -> None:
        self._learnt_under[key] = under
        while len(self._learnt_under) > remembered:
            oldest = next(iter(self._learnt_under))
            del self._learnt_under[oldest]
            self._lost.add(oldest)


def _runs_of(pair: PreferencePair) -> list[str]:
    """The runs of a vote on two; empty for any other pair."""
    if not pair.meta:
        return []
    named = pair.meta.get("chosen_run_id"), pair.meta.get("rejected_run_id")
    return [run for run in named if isinstance(run, str) and run]
