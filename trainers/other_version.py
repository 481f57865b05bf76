"""A stored state that lacks something, or has it in another form: another version of TriBrain wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streams.errors import BadInput


@contextmanager
def reading_state_of(what: str) -> Iterator[None]:
    """Raises BadInput for what the reading of a state raises that is not as expected.

    ``what`` names the state, such as ``version 7 of model 'default'``.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadInput(
            f"{what} was written by another version of TriBrain, whose learner this one cannot continue "
            f"({type(error).__name__}: {error}); give another --model"
        ) from None
