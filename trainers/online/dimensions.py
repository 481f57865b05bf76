"""Dimensions: labels that judge one aspect (physics, smoothness, …) rather than overall quality.

A dimension has its own reward, evidence and gate. It starts as a copy of the overall one when its first label
comes, and then learns only from its own labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streams.messages.contracts import PairsEnd, PreferencePair
from streams.messages.limits import MAX_DIMENSIONS
from trainers.other_version import a_count
from trainers.pairs.judgements import dimension_of

if TYPE_CHECKING:
    from trainers.online.learner import OnlineLearner


class Dimensions:
    """The learners of the dimensions, by name, with the pairs that each has still to learn."""

    def __init__(self, begin: Callable[[str], OnlineLearner]) -> None:
        """``begin`` makes a dimension's learner from the current overall one."""
        self.learners: dict[str, OnlineLearner] = {}
        self.pairs_left_out = 0
        """Pairs on dimensions beyond the limit."""
        self._begin = begin
        self._waiting: dict[str, list[tuple[PreferencePair | PairsEnd, bool]]] = {}

    def is_new(self, pair: PreferencePair) -> bool:
        """Whether the pair is the first of a dimension."""
        return dimension_of(pair) not in self.learners and len(self.learners) < MAX_DIMENSIONS

    def knows(self, pair: PreferencePair) -> bool:
        """Whether the pair's dimension exists already."""
        return dimension_of(pair) in self.learners

    def add(self, pair: PreferencePair, known_new: bool) -> None:
        """Add a pair of one of the dimensions, to be learnt by the next ``learn``."""
        name = dimension_of(pair)
        if self.is_new(pair):
            self.learners[name] = self._begin(name)
        if name in self.learners:
            self._waiting.setdefault(name, []).append((pair, known_new))
        else:
            self.pairs_left_out += 1

    def end(self, end: PairsEnd, known_new: bool) -> None:
        """Add the end of a run, for all dimensions."""
        for name in self.learners:
            self._waiting.setdefault(name, []).append((end, known_new))

    def learn(self) -> int:
        """Learn what was added. Returns the number of messages that changed something, per dimension."""
        changes = 0
        for name, waiting in self._waiting.items():
            messages, known_new = zip(*waiting, strict=True)
            changes += self.learners[name].on_messages(messages, known_new)
        self._waiting.clear()
        return changes

    def go_back_to(self, earlier: Dimensions) -> None:
        """Return to the earlier state, but remember what came since; dimensions started since start over."""
        for name, learner in self.learners.items():
            if name not in earlier.learners:
                earlier.learners[name] = earlier._begin(name)
            learner.go_back_to(earlier.learners[name])
        for name, learner in earlier.learners.items():
            if len(self.learners) < MAX_DIMENSIONS:
                self.learners.setdefault(name, learner)

    def over_bounds(self) -> dict[str, int]:
        """What exceeded the limits; omits zeros."""
        return {"pairs_of_further_dimensions": self.pairs_left_out} if self.pairs_left_out else {}

    def state(self) -> dict[str, Any]:
        """The argument of ``restore``."""
        return {
            "learners": {name: learner.state() for name, learner in self.learners.items()},
            "pairs_left_out": self.pairs_left_out,
        }

    def restore(
        self, state: Mapping[str, Any], of_state: Callable[[str, Mapping[str, Any]], OnlineLearner]
    ) -> None:
        """Continue from this state."""
        self.learners = {name: of_state(name, saved) for name, saved in state["learners"].items()}
        if len(self.learners) > MAX_DIMENSIONS:
            raise ValueError(f"{len(self.learners)} dimensions; expected {MAX_DIMENSIONS} at most")
        self.pairs_left_out = a_count(state["pairs_left_out"])
