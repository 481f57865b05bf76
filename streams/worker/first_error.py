"""The error that ends a worker: the first one of all its parts, which the others must not hide."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class FirstError:
    """Calls ``on_failure`` once, with the first error; what goes wrong after it is only logged."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self.is_there = False

    def fail(self, error: BaseException) -> None:
        """Something that the worker cannot do without has ended with this error."""
        if self.is_there:
            log.warning("after the error that ends this worker: %s: %s", type(error).__name__, error)
        else:
            self.is_there = True
            self._on_failure(error)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """What this block raises ends the worker; nobody else would hear of it."""
        try:
            yield
        except Exception as error:
            self.fail(error)
