"""How far a worker may commit: what it has read, short of the first message that must be read again."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count

_FEW = 100
"""Offsets in a heap that are held no more, and may always stay."""


class _Partition:
    def __init__(self) -> None:
        self.next_offset = 0
        self.committed: int | None = None
        self._holds: Counter[int] = Counter()
        """What is held, by how many holds; nothing that is 0."""
        self._lowest: list[int] = []
        """A heap of the offsets in ``_holds``, and of some that are held no more."""

    def hold(self, offset: int) -> None:
        if offset not in self._holds:
            heappush(self._lowest, offset)
        self._holds[offset] += 1

    def release(self, offset: int) -> None:
        self._holds[offset] -= 1
        if self._holds[offset]:
            return
        del self._holds[offset]
        while self._lowest and self._lowest[0] not in self._holds:
            heappop(self._lowest)
        # Behind one that is held for hours, others would gather without end.
        if len(self._lowest) > 2 * len(self._holds) + _FEW:
            self._lowest = sorted(self._holds)

    @property
    def safe_offset(self) -> int:
        """From here on all must be read again after a crash."""
        return self._lowest[0] if self._lowest else self.next_offset


class Positions:
    """What was read of each partition since it was assigned, and what of that must be read again.

    A call costs no more with many holds than with few, but for a logarithm.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def advance(self, partition: int, offset: int) -> bool:
        """A message was read; False where it, or a later one, was read before."""
        at = self._partitions.get(partition)
        if at is None:
            at = self._partitions[partition] = _Partition()
        if offset < at.next_offset:
            return False
        at.next_offset = offset + 1
        return True

    def hold(self, partition: int, offset: int) -> None:
        """A message that was read must be read again after a crash, until ``release``; holds add up."""
        self._partitions[partition].hold(offset)

    def release(self, partition: int, offset: int) -> None:
        """One hold of the message ends: what came of it is on Kafka."""
        self._partitions[partition].release(offset)

    def next_offset(self, partition: int) -> int | None:
        """Behind the last message that was read; None where nothing was."""
        at = self._partitions.get(partition)
        return None if at is None else at.next_offset

    def to_commit(self) -> dict[int, int]:
        """Partition to the offset from which to read after a crash, where that is not committed yet."""
        return {
            partition: safe
            for partition, at in self._partitions.items()
            if (safe := at.safe_offset) != at.committed
        }

    def committed(self, offsets: Mapping[int, int]) -> None:
        """The group has these offsets now."""
        for partition, offset in offsets.items():
            self._partitions[partition].committed = offset

    def clear(self) -> None:
        """The partitions were taken away."""
        self._partitions.clear()


class InFlight:
    """Sends that Kafka has not acknowledged. What follows one follows when all before it are there, too."""

    def __init__(self) -> None:
        self._tokens = count()
        self._then: OrderedDict[int, Sequence[Callable[[], None]]] = OrderedDict()
        self._acknowledged: set[int] = set()

    def add(self, then: Sequence[Callable[[], None]]) -> int:
        """The token of a new send."""
        token = next(self._tokens)
        self._then[token] = then
        return token

    def acknowledge(self, token: int) -> list[Callable[[], None]]:
        """What follows now; nothing for a token that is unknown or was acknowledged before."""
        if token in self._then:
            self._acknowledged.add(token)
        ready: list[Callable[[], None]] = []
        while self._then and (first := next(iter(self._then))) in self._acknowledged:
            self._acknowledged.discard(first)
            ready += self._then.pop(first)
        return ready

    def clear(self) -> None:
        """Forget all: what is acknowledged later has no consequences."""
        self._then.clear()
        self._acknowledged.clear()
