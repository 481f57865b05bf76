"""Checks of stored states, which another version of TriBrain or someone else may have written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from streams.errors import BadInput
from streams.messages.limits import MAX_COUNT

if TYPE_CHECKING:
    from trainers.compiled import Array

LARGEST_SUM = 1e18
"""Limit, of either sign, on sums, so that they can still grow."""
_LARGEST_COUNT = MAX_COUNT >> 3
"""Counts up to this leave more room within the contracts than anybody needs."""


@contextmanager
def reading_state_of(what: str) -> Iterator[None]:
    """Turns errors from reading an unexpected state into BadInput.

    ``what`` names the state, such as ``version 7 of model 'default'``.
    """
    try:
        yield
    except BadInput:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadInput(
            f"{what} was written by another version of TriBrain, whose learner this one cannot continue "
            f"({type(error).__name__}: {error}); give another --model"
        ) from None


def within(values: Any, shape: tuple[int, ...], least: float, most: float, what: str) -> Array:
    """The values as an array. Raises ValueError for another shape, or for values that no learner can reach.

    From values that are only finite, learning could reach ones that are not.
    """
    array = np.array(values, dtype=np.float64).reshape(shape)
    if not ((array >= least) & (array <= most)).all():
        raise ValueError(f"{what} are {array.tolist()}; expected them from {least:g} to {most:g}")
    return array


def a_count(found: Any) -> int:
    """A version or a number of pairs that can still grow. Raises ValueError."""
    if not 0 <= (count := int(found)) <= _LARGEST_COUNT:
        raise ValueError(f"found {found}; expected 0 to {_LARGEST_COUNT}")
    return count
