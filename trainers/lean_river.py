"""River as it is where scikit-learn is not installed: its import takes a second less."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SKLEARN = "sklearn"


@contextmanager
def without_sklearn() -> Iterator[None]:
    """River imports scikit-learn, if it can, for data sets that nothing here reads."""
    if _SKLEARN in sys.modules:
        yield
        return
    sys.modules[_SKLEARN] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_SKLEARN]
