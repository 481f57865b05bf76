"""Recognises repeated pairs and closed tasks, by hash and within limits.

``trainers.pairs.weights.task_of`` defines tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from streams.messages.contracts import TRUSTED_SOURCES, LabelSource
from trainers.other_version import LARGEST_SUM, within
from trainers.pairs.forgotten import ForgottenNames

REMEMBERED = 10_000
"""Number of tasks that are no longer open, and of pairs, that are recognised when they come again; it
determines the checkpoint's size."""
LABEL_SOURCES: tuple[LabelSource, ...] = get_args(LabelSource)
Counts = dict[str, float]
"""Pairs by label source, a person's vote as the trust in its annotator; 0 if all were undone or untrusted."""


class PastTask(NamedTuple):
    """A task whose pairs were learnt, so that no prediction would be honest."""

    counts: Counts
    """Counts of its pairs, to which those of later pairs are added."""
    is_closed: bool
    """Whether it is closed; otherwise it was settled because too many were open."""


class PastTasks:
    """Tasks that are no longer open; beyond ``remembered``, the oldest are forgotten.

    For a forgotten one, it stays known whether trusted labels were learnt from it. If it comes again, it is a
    past task with such labels, whose later ones are no evidence.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self._closed: set[str] = set()
        self.forgotten = 0
        """Number of forgotten tasks."""
        self._lost = ForgottenNames()
        """Forgotten tasks from which trusted labels were learnt."""

    def find(self, task: str, remembered: int = REMEMBERED) -> PastTask | None:
        """The past task; None if it is unknown. A forgotten one with trusted labels is remembered again."""
        name = hashed(task)
        if name not in self._counts and name in self._lost:
            self._add(name, {}, remembered)
        counts = self._counts.get(name)
        return None if counts is None else PastTask(counts, name in self._closed)

    def has_trusted(self, task: str) -> bool:
        """Whether trusted labels were learnt from it."""
        name = hashed(task)
        counts = self._counts.get(name)
        return name in self._lost if counts is None else bool(trusted_of(counts))

    def is_closed(self, task: str) -> bool:
        return hashed(task) in self._closed

    def settle(self, task: str, counts: Counts, remembered: int = REMEMBERED) -> None:
        """Remember a task that may still continue."""
        self._add(hashed(task), counts, remembered)

    def close(self, task: str, counts: Counts, remembered: int = REMEMBERED) -> bool:
        """Remember that a task is closed; False if that was known."""
        name = hashed(task)
        if name in self._closed:
            return False
        self._closed.add(name)
        self._add(name, counts, remembered)
        return True

    def take_in(self, later: PastTasks, remembered: int = REMEMBERED) -> None:
        """Add the knowledge of another, which comes after this one."""
        self.forgotten = max(self.forgotten, later.forgotten)
        self._lost.take_in(later._lost)
        self._closed |= later._closed
        for name, counts in later._counts.items():
            self._add(name, counts, remembered)

    def of_trusted(self) -> PastTasks:
        """The closed tasks, and those from which trusted labels were learnt, with only these counts."""
        past = PastTasks()
        for name, counts in self._counts.items():
            trusted = trusted_of(counts)
            if trusted or name in self._closed:
                past._counts[name] = trusted
        past._closed = self._closed & past._counts.keys()
        past._lost = self._lost.copy()
        return past

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``."""
        return {
            "tasks": list(self._counts),
            "counts": counts_array(self._counts.values()),
            "closed": np.array([name in self._closed for name in self._counts], dtype=np.int64),
            "forgotten": self.forgotten,
            "lost": self._lost.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PastTasks:
        """The tasks with this state."""
        past = cls()
        past._lost = ForgottenNames.from_state(state.get("lost", ""))  # earlier states have none
        past.forgotten = int(state["forgotten"])
        past._counts = dict(zip(state["tasks"], counts_of(state["counts"]), strict=True))
        past._closed = {name for name, over in zip(past._counts, state["closed"], strict=True) if over}
        return past

    def _add(self, name: str, counts: Counts, remembered: int) -> None:
        if name not in self._counts:
            of_before = dict.fromkeys(sorted(TRUSTED_SOURCES), 0.0) if name in self._lost else {}
            self._counts[name] = of_before
        mine = self._counts[name]
        for source, n in counts.items():
            mine[source] = max(n, mine.get(source, 0))
        while len(self._counts) > remembered:
            oldest = next(iter(self._counts))
            if trusted_of(self._counts.pop(oldest)):
                self._lost.add(oldest)
            self._closed.discard(oldest)
            self.forgotten += 1


class KnownPairs:
    """Pairs identified by their task and ``pair_id``; the oldest are forgotten as in ``PastTasks``."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self.forgotten = 0
        """Number of forgotten pairs."""
        self._lost = ForgottenNames()

    def has_forgotten(self, task: str, pair_id: str) -> bool:
        """Whether it is one of the forgotten pairs, which ``note`` takes for a new one."""
        return hashed(f"{task}\0{pair_id}") in self._lost

    def note(self, task: str, pair_id: str, remembered: int = REMEMBERED) -> bool:
        """Remember a pair; False if it was known."""
        name = hashed(f"{task}\0{pair_id}")
        if name in self._known:
            return False
        self._add(name, remembered)
        return True

    def take_in(self, later: KnownPairs, remembered: int = REMEMBERED) -> None:
        """Add the knowledge of another, which comes after this one."""
        self.forgotten = max(self.forgotten, later.forgotten)
        self._lost.take_in(later._lost)
        for name in later._known:
            self._add(name, remembered)

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``."""
        return {"known": list(self._known), "forgotten": self.forgotten, "lost": self._lost.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> KnownPairs:
        """The pairs with this state."""
        pairs = cls()
        pairs._known = dict.fromkeys(state["known"])
        pairs.forgotten = int(state["forgotten"])
        pairs._lost = ForgottenNames.from_state(state.get("lost", ""))  # earlier states have none
        return pairs

    def _add(self, name: str, remembered: int) -> None:
        self._known[name] = None
        while len(self._known) > remembered:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._lost.add(oldest)
            self.forgotten += 1


def trusted_of(counts: Counts) -> Counts:
    """Only the counts of people and validators."""
    return {source: n for source, n in counts.items() if source in TRUSTED_SOURCES}


def tell_apart(names: dict[str, None], name: str, most: int) -> bool:
    """Whether the name is among the first ``most``; adds it if there is room."""
    if name not in names:
        if len(names) >= most:
            return False
        names[name] = None
    return True


def remember(known: dict[str, Any], name: str, value: Any, remembered: int) -> None:
    """Store a value as the newest; keeps only the newest ``remembered``."""
    known[name] = value
    while len(known) > remembered:
        del known[next(iter(known))]


def counts_array(counts: Iterable[Counts]) -> NDArray[np.float64]:
    """(n, 4): one row each, one column for each of ``LABEL_SOURCES``; −1 for a 0."""
    rows = [
        [one.get(source, 0) or (-1 if source in one else 0) for source in LABEL_SOURCES] for one in counts
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, len(LABEL_SOURCES))


def counts_of(rows: Any) -> list[Counts]:
    """The counts in rows from ``counts_array``. Raises ValueError."""
    known = within(rows, (-1, len(LABEL_SOURCES)), -1.0, LARGEST_SUM, "counts of pairs")
    return [
        {source: max(0.0, n) for source, n in zip(LABEL_SOURCES, row, strict=True) if n}
        for row in known.tolist()
    ]


@lru_cache(maxsize=4096)
def hashed(name: str) -> str:
    """64 bits of SHA-256: among 10,000 tasks, two collide with a probability of 3 in a million million."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]
