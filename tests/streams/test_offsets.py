"""What may be committed is short of everything that is held, and what was held leaves nothing behind."""

from __future__ import annotations

import sys
from collections import Counter
from random import Random

import pytest

from streams.worker.offsets import Positions


@pytest.mark.parametrize("seed", range(20))
def test_the_first_offset_that_is_held_is_committed(seed: int) -> None:
    random, positions, held = Random(seed), Positions(), Counter[int]()
    for offset in range(600):
        positions.advance(0, offset)
        if random.random() < 0.5:
            positions.hold(0, offset)
            held[offset] += 1
        if held and random.random() < 0.55:
            one = random.choice(list(held.elements()))
            positions.release(0, one)
            held -= Counter([one])
        if held and random.random() < 0.1:
            again = random.choice(list(held))
            positions.hold(0, again)
            held[again] += 1
        assert positions.to_commit() == {0: min(held, default=offset + 1)}


def test_what_was_released_behind_a_held_offset_takes_no_memory() -> None:
    positions = Positions()
    positions.advance(0, 0)
    positions.hold(0, 0)
    for offset in range(1, 100_000):
        positions.advance(0, offset)
        positions.hold(0, offset)
        positions.release(0, offset)
    (at,) = positions._partitions.values()
    assert sys.getsizeof(at._lowest) + sys.getsizeof(at._holds) < 10_000
    assert positions.to_commit() == {0: 0}
