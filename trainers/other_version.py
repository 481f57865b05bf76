"""A stored state that is not as expected: another version of TriBrain wrote it, or somebody else."""

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
"""Either sign; of what is added up, so that it can go on."""
_LARGEST_COUNT = MAX_COUNT >> 3
"""What follows it is within the contracts for longer than anybody learns."""


@contextmanager
def reading_state_of(what: str) -> Iterator[None]:
    """Raises BadInput for what the reading of a state raises that is not as expected.

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
    """The values as an array. Raises ValueError for another shape, or one that no learner can come to.

    From numbers that are merely finite, learning may come to some that are not.
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
