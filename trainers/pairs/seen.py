"""What is known again when it comes a second time: tasks that are over, and pairs; by hash, and bounded.

What a task is says ``trainers.pairs.weights.task_of``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from streams.messages.contracts import TRUSTED_SOURCES, LabelSource

REMEMBERED = 10_000
"""How many tasks that are not open any more, and how many pairs, are known when they come again; the
checkpoint's size depends on it."""
LABEL_SOURCES: tuple[LabelSource, ...] = get_args(LabelSource)
Counts = dict[str, int]
"""Label source to pairs; 0 where some were learnt and are all undone."""


class PastTask(NamedTuple):
    """A task whose pairs were learnt, so that no prediction would be honest."""

    counts: Counts
    """Goes on with pairs that still come."""
    is_closed: bool
    """Whether it is over; one that is not was settled since too many were open."""


class PastTasks:
    """Tasks that are not open any more; of more than are to be ``remembered``, the oldest are forgotten."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self._closed: set[str] = set()
        self.forgotten = 0
        """How many were."""

    def find(self, task: str) -> PastTask | None:
        """None where it is not known."""
        name = hashed(task)
        counts = self._counts.get(name)
        return None if counts is None else PastTask(counts, name in self._closed)

    def is_closed(self, task: str) -> bool:
        return hashed(task) in self._closed

    def settle(self, task: str, counts: Counts, remembered: int = REMEMBERED) -> None:
        """Remember a task that may still go on."""
        self._add(hashed(task), counts, remembered)

    def close(self, task: str, counts: Counts, remembered: int = REMEMBERED) -> bool:
        """Remember that a task is over; False where that was known."""
        name = hashed(task)
        if name in self._closed:
            return False
        self._closed.add(name)
        self._add(name, counts, remembered)
        return True

    def take_in(self, later: PastTasks, remembered: int = REMEMBERED) -> None:
        """Know what another, which comes after this one, knows, too."""
        self.forgotten = max(self.forgotten, later.forgotten)
        self._closed |= later._closed
        for name, counts in later._counts.items():
            self._add(name, counts, remembered)

    def of_trusted(self) -> PastTasks:
        """Those that are over, and those of which trusted labels were learnt, with nothing but these."""
        past = PastTasks()
        for name, counts in self._counts.items():
            trusted = trusted_of(counts)
            if trusted or name in self._closed:
                past._counts[name] = trusted
        past._closed = self._closed & past._counts.keys()
        return past

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``."""
        return {
            "tasks": list(self._counts),
            "counts": counts_array(self._counts.values()),
            "closed": np.array([name in self._closed for name in self._counts], dtype=np.int64),
            "forgotten": self.forgotten,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PastTasks:
        """The tasks that had this state."""
        past = cls()
        past.forgotten = int(state["forgotten"])
        past._counts = dict(zip(state["tasks"], counts_of(state["counts"]), strict=True))
        past._closed = {name for name, over in zip(past._counts, state["closed"], strict=True) if over}
        return past

    def _add(self, name: str, counts: Counts, remembered: int) -> None:
        mine = self._counts.setdefault(name, {})
        for source, n in counts.items():
            mine[source] = max(n, mine.get(source, 0))
        while len(self._counts) > remembered:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._closed.discard(oldest)
            self.forgotten += 1


class KnownPairs:
    """Pairs that are told by their task and ``pair_id``; the oldest are forgotten as in ``PastTasks``."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self.forgotten = 0
        """How many were."""

    def note(self, task: str, pair_id: str, remembered: int = REMEMBERED) -> bool:
        """Remember a pair; False where it was known."""
        name = hashed(f"{task}\0{pair_id}")
        if name in self._known:
            return False
        self._add(name, remembered)
        return True

    def take_in(self, later: KnownPairs, remembered: int = REMEMBERED) -> None:
        """Know what another, which comes after this one, knows, too."""
        self.forgotten = max(self.forgotten, later.forgotten)
        for name in later._known:
            self._add(name, remembered)

    def state(self) -> dict[str, Any]:
        """The argument of ``from_state``."""
        return {"known": list(self._known), "forgotten": self.forgotten}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> KnownPairs:
        """The pairs that had this state."""
        pairs = cls()
        pairs._known = dict.fromkeys(state["known"])
        pairs.forgotten = int(state["forgotten"])
        return pairs

    def _add(self, name: str, remembered: int) -> None:
        self._known[name] = None
        while len(self._known) > remembered:
            del self._known[next(iter(self._known))]
            self.forgotten += 1


def trusted_of(counts: Counts) -> Counts:
    """Of people and validators alone."""
    return {source: n for source, n in counts.items() if source in TRUSTED_SOURCES}


def tell_apart(names: dict[str, None], name: str, most: int) -> bool:
    """Whether the name is one of the first so many, and it is noted."""
    if name not in names:
        if len(names) >= most:
            return False
        names[name] = None
    return True


def remember(known: dict[str, Any], name: str, value: Any, remembered: int) -> None:
    """Note a value, the newest of so many that are remembered."""
    known[name] = value
    while len(known) > remembered:
        del known[next(iter(known))]


def counts_array(counts: Iterable[Counts]) -> NDArray[np.int64]:
    """(n, 4): a row for each, a column for each of ``LABEL_SOURCES``; −1 for a 0."""
    rows = [
        [one.get(source, 0) or (-1 if source in one else 0) for source in LABEL_SOURCES] for one in counts
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, len(LABEL_SOURCES))


def counts_of(rows: Iterable[Iterable[int]]) -> list[Counts]:
    """The counts of which ``counts_array`` made the rows."""
    return [
        {source: max(0, int(n)) for source, n in zip(LABEL_SOURCES, row, strict=True) if n} for row in rows
    ]


def hashed(name: str) -> str:
    """64 bits of SHA-256: among 10,000 tasks two are alike with a chance of 3 in a million million."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]
