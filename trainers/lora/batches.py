"""The order of the training pairs: shuffled, with similar lengths together, determined by the seed alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

_WINDOW = 50
"""Number of batches within which pairs are sorted by length."""
PART_TOKENS = 1536
"""Enough for fast matrix products, and few enough for the processor's cache."""


def batch_order(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the pairs in each batch; every pair occurs once per epoch.

    Shuffle, sort by length in windows of 50 batches, shuffle the batches: this needs little padding, and is
    hardly less random. The last batch of the last window may be smaller.
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
    """Splits places, in order, into parts of at most ``PART_TOKENS`` or of one place; ``tokens`` is by place.

    A whole batch would take gigabytes, which the system would have to clear at every step.
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
