"""Numeric loops compiled to machine code with the same bits on every CPU: no BLAS, no reordered sums."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def compiled(function: Any) -> Any:
    """Cached on disk if numba finds a writable folder; otherwise every process compiles it again."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:
        return numba.njit(function)
