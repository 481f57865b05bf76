"""Weights a text's n-grams by how many texts have them, and takes the difference of two texts.

A reward that is linear in the difference of two candidates cannot depend on their goal, which cancels. So the
goal is not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainers.compiled import Array, compiled
from trainers.text.ngrams import BUCKETS, LENGTH, LENGTH_SCALE, Ints
from trainers.text.packed import pack, pack_mask, unpack, unpack_mask

_COUNTS = {t.__name__: t for t in (np.uint8, np.uint16, np.uint32)}
Gram = tuple[Ints, Array]
"""Buckets (m,) and 1 + ln tf (m,) of a text, from ``grams``."""


class Terms:
    """Document frequency of each bucket over the texts seen so far; independent of labels."""

    def __init__(self) -> None:
        self.texts = 0
        self._with: Ints = np.zeros(BUCKETS, dtype=np.int32)

    def see(self, gram: Gram) -> None:
        """Count a text."""
        self.texts += 1
        self._with[gram[0]] += 1

    def features(self, gram: Gram) -> Gram:
        """Indices (m + 1,) among the weights, and values of one text: unit length, and its length."""
        return _features(*gram, self._with, self.texts)  # type: ignore[no-any-return]

    def difference(self, first: Gram, second: Gram) -> Gram:
        """Indices (m,), distinct and ascending, and first − second (m,)."""
        return _difference(*self.features(first), *self.features(second))  # type: ignore[no-any-return]

    @property
    def with_it(self) -> Ints:
        """(BUCKETS,): number of texts with each bucket."""
        return self._with

    def state(self) -> dict[str, Any]:
        """The whole state, as JSON values."""
        seen = self._with > 0
        counts = self._with.astype(np.min_scalar_type(self._with.max()))[seen]
        return {"texts": self.texts, "seen": pack_mask(seen), "with": pack(counts), "type": counts.dtype.name}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Terms:
        """The counts with this state. Raises ValueError for an invalid state."""
        terms = cls()
        terms.texts = state["texts"]
        if state["type"] not in _COUNTS:
            raise ValueError(f"counts of type {state['type']!r}; expected {', '.join(_COUNTS)}")
        terms._with[unpack_mask(state["seen"], BUCKETS)] = unpack(state["with"], _COUNTS[state["type"]])
        return terms


@compiled
def _features(buckets, terms, with_it, texts):  # type: ignore[no-untyped-def]
    m = len(buckets)
    at = np.empty(m + 1, dtype=np.int32)
    x = np.empty(m + 1, dtype=np.float64)
    squares = 0.0
    for j in range(m):
        at[j] = buckets[j]
        x[j] = terms[j] * (1.0 + math.log((1.0 + texts) / (1.0 + with_it[buckets[j]])))
        squares += x[j] * x[j]
    for j in range(m):
        x[j] /= math.sqrt(squares)
    at[m] = LENGTH
    x[m] = LENGTH_SCALE * math.log(1.0 + m)
    return at, x


@compiled
def _difference(at_1, x_1, at_2, x_2):  # type: ignore[no-untyped-def]
    at = np.empty(len(at_1) + len(at_2), dtype=np.int32)
    x = np.empty(len(at_1) + len(at_2), dtype=np.float64)
    i = j = m = 0
    while i < len(at_1) or j < len(at_2):
        if j == len(at_2) or (i < len(at_1) and at_1[i] < at_2[j]):
            at[m], x[m] = at_1[i], x_1[i]
            i += 1
        elif i == len(at_1) or at_2[j] < at_1[i]:
            at[m], x[m] = at_2[j], -x_2[j]
            j += 1
        else:
            at[m], x[m] = at_1[i], x_1[i] - x_2[j]
            i += 1
            j += 1
        m += 1
    return at[:m].copy(), x[:m].copy()
