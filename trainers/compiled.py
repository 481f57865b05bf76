"""Loops over numbers as machine code, with the same bits on every CPU: no BLAS, no reordered sums."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def compiled(function: Any) -> Any:
    """Kept on disk where numba finds a folder that it may write to; else compiled by every process anew."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:
        return numba.njit(function)
