"""How far a worker may commit: up to the first message that must be read again after a crash."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count

_FEW = 100
"""How many released offsets may stay in a heap, whatever its size."""


class _Partition:
    def __init__(self) -> None:
        self.next_offset = 0
        self.committed: int | None = None
        self._holds: Counter[int] = Counter()
        """Held offset to its number of holds, at least 1."""
        self._lowest: list[int] = []
        """A heap of the offsets in ``_holds``, and of some released ones."""

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
        # Otherwise released offsets would pile up behind one that is held for hours.
        if len(self._lowest) > 2 * len(self._holds) + _FEW:
            self._lowest = sorted(self._holds)

    @property
    def safe_offset(self) -> int:
        """The offset from which to read again after a crash."""
        return self._lowest[0] if self._lowest else self.next_offset


class Positions:
    """Tracks what was read of each partition since its assignment, and what of it must be read again.

    The cost of a call grows only logarithmically with the number of holds.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def advance(self, partition: int, offset: int) -> bool:
        """Record that a message was read; False if it, or a later one, was read before."""
        at = self._partitions.get(partition)
        if at is None:
            at = self._partitions[partition] = _Partition()
        if offset < at.next_offset:
            return False
        at.next_offset = offset + 1
        return True

    def hold(self, partition: int, offset: int) -> None:
        """Hold the message: until ``release``, it must be read again after a crash. Holds add up."""
        self._partitions[partition].hold(offset)

    def release(self, partition: int, offset: int) -> None:
        """End one hold of the message: its results are on Kafka."""
        self._partitions[partition].release(offset)

    def next_offset(self, partition: int) -> int | None:
        """The offset after the last message read; None if none was read."""
        at = self._partitions.get(partition)
        return None if at is None else at.next_offset

    def to_commit(self) -> dict[int, int]:
        """Partition to the offset from which to read after a crash, for partitions where it has changed."""
        return {
            partition: safe
            for partition, at in self._partitions.items()
            if (safe := at.safe_offset) != at.committed
        }

    def committed(self, offsets: Mapping[int, int]) -> None:
        """The group has committed these offsets."""
        for partition, offset in offsets.items():
            self._partitions[partition].committed = offset

    def clear(self) -> None:
        """The partitions were revoked."""
        self._partitions.clear()


class InFlight:
    """Sends that Kafka has not acknowledged. Their callbacks run in order: each after all earlier sends, too,
    are acknowledged."""

    def __init__(self) -> None:
        self._tokens = count()
        self._then: OrderedDict[int, Sequence[Callable[[], None]]] = OrderedDict()
        self._acknowledged: set[int] = set()

    def add(self, then: Sequence[Callable[[], None]]) -> int:
        """Register a send with its callbacks; returns its token."""
        token = next(self._tokens)
        self._then[token] = then
        return token

    def acknowledge(self, token: int) -> list[Callable[[], None]]:
        """The callbacks to run now; none for a token that is unknown or already acknowledged."""
        if token in self._then:
            self._acknowledged.add(token)
        ready: list[Callable[[], None]] = []
        while self._then and (first := next(iter(self._then))) in self._acknowledged:
            self._acknowledged.discard(first)
            ready += self._then.pop(first)
        return ready

    def clear(self) -> None:
        """Forget all sends: later acknowledgements have no effect."""
        self._then.clear()
        self._acknowledged.clear()
