"""Turns texts into numbers: character n-grams, hashed into a fixed number of buckets.

Like scikit-learn's ``char_wb``: n-grams of 3 to 5 characters within words, each word padded with a space on
both sides, shorter words as a whole; lower case. The hash is FNV-1a over the characters' code points with
MurmurHash3's final mixing step, so it is the same on every machine and in every process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.errors import BadInput
from trainers.compiled import Array, compiled

Ints = NDArray[np.int32]
Codes = NDArray[np.uint32]

BUCKETS = 1 << 18
LEAST, MOST = 3, 5
LENGTH = BUCKETS
"""Index of the text's length among the weights: after all buckets."""
LENGTH_SCALE = 0.3
SCHEME: Mapping[str, Any] = {
    "grams": "char_wb",
    "least": LEAST,
    "most": MOST,
    "lower_case": True,
    "hash": "fnv1a-32 of code points, fmix32",
    "buckets": BUCKETS,
    "term": "1 + ln tf",
    "idf": "1 + ln((1 + texts)/(1 + texts with it))",
    "norm": "l2",
    "length": f"{LENGTH_SCALE} ln(1 + distinct buckets)",
}
"""The description of this scheme in a snapshot."""


def check_scheme(scheme: Mapping[str, Any], source: str) -> None:
    """Raises BadInput for a snapshot with another scheme."""
    for name, value in SCHEME.items():
        if scheme.get(name) != value:
            raise BadInput(
                f"{source}: scheme.{name} is {scheme.get(name)!r}; this version reads {value!r}: "
                "train the model again"
            )


def grams(text: str) -> tuple[Ints, Array]:
    """Buckets (m,), ascending, and 1 + ln tf (m,) of each; both empty for a blank text."""
    lower = text.lower()
    return _grams(_codes(lower), np.array([c.isspace() for c in lower], dtype=np.bool_))  # type: ignore[no-any-return]


def bucket_of(name: str) -> int:
    """Bucket of a feature that is given by name."""
    return int(_hash(_codes(name)))


def _codes(text: str) -> Codes:
    # A lone surrogate counts like any other character.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)


@compiled
def _hash(codes):  # type: ignore[no-untyped-def]
    h = np.uint32(2166136261)
    for code in codes:
        h = np.uint32((h ^ code) * np.uint32(16777619))
    return _mixed(h)


@compiled
def _mixed(h):  # type: ignore[no-untyped-def]
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    return np.int32(h & np.uint32(BUCKETS - 1))


@compiled
def _grams(codes, blank):  # type: ignore[no-untyped-def]
    n = len(codes)
    found = np.empty(3 * n, dtype=np.int32)  # k characters between two spaces have 3k − 3 at most, or one
    word = np.empty(n + 2, dtype=np.uint32)
    m = 0
    at = 0
    while at < n:
        if blank[at]:
            at += 1
            continue
        length = 1
        word[0] = 32
        while at < n and not blank[at]:
            word[length] = codes[at]
            length += 1
            at += 1
        word[length] = 32
        length += 1
        for size in range(LEAST, MOST + 1):
            if size >= length:
                found[m] = _hash(word[:length])
                m += 1
                break
            for start in range(length - size + 1):
                found[m] = _hash(word[start : start + size])
                m += 1
    found = np.sort(found[:m])
    buckets = np.empty(m, dtype=np.int32)
    terms = np.empty(m, dtype=np.float64)
    distinct = 0
    start = 0
    while start < m:
        stop = start + 1
        while stop < m and found[stop] == found[start]:
            stop += 1
        buckets[distinct] = found[start]
        terms[distinct] = 1.0 + math.log(stop - start)
        distinct += 1
        start = stop
    return buckets[:distinct].copy(), terms[:distinct].copy()
