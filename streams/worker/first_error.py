"""The error that ends a worker: the first of all its parts; later errors must not hide it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class FirstError:
    """Calls ``on_failure`` once, with the first error; later errors are only logged."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self.is_there = False

    def fail(self, error: BaseException) -> None:
        """Report an error that the worker cannot survive."""
        if self.is_there:
            log.warning("after the error that ends this worker: %s: %s", type(error).__name__, error)
        else:
            self.is_there = True
            self._on_failure(error)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """An exception from this block ends the worker; otherwise it would go unnoticed."""
        try:
            yield
        except Exception as error:
            self.fail(error)
