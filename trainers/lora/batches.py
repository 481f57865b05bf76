"""The order of learning: shuffled, near-equal lengths together, and a function of the seed alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

_WINDOW = 50
"""Batches within which pairs are sorted by length."""
PART_TOKENS = 1536
"""Enough for quick matrix products, and few enough to stay near the processor."""


def batch_order(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Positions of the pairs of each batch; every pair comes once an epoch.

    Shuffle, sort by length in windows of 50 batches, shuffle the batches: little padding, and hardly less
    random. The last batch of the last window may be smaller.
    """
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(shuffled), _WINDOW * batch):
        window = shuffled[start : start + _WINDOW * batch]
        by_length = window[np.argsort([lengths[at] for at in window], kind="stable")]
        batches += [[int(at) for at in by_length[i : i + batch]] for i in range(0, len(by_length), batch)]
    return [batches[at] for at in rng.permutation(len(batches))]


def filled(places: Iterable[int], tokens: Sequence[int]) -> Iterator[list[int]]:
    """Places in their order, in parts of ``PART_TOKENS`` at most or of one place; ``tokens`` has all places'.

    A whole batch would fill gigabytes that the system first has to clear, at every step anew.
    """
    part: list[int] = []
    n = 0
    for place in places:
        if part and n + tokens[place] > PART_TOKENS:
            yield part
            part, n = [], 0
        part.append(place)
        n += tokens[place]
    if part:
        yield part
