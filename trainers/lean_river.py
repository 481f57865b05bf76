"""River's import without what nothing here uses of it, which takes two seconds less."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_SKLEARN = "sklearn"
_STATS = "scipy.stats"


@contextmanager
def without_sklearn() -> Iterator[None]:
    """River imports scikit-learn, if it can, for data sets that nothing here reads."""
    with _instead(_SKLEARN, None):
        yield


@contextmanager
def with_scipy_stats_later() -> Iterator[None]:
    """River's detectors of drift import scipy.stats for one of them, which loads it when it is first used."""
    with _instead(_STATS, _Later(_STATS)):
        yield


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


@contextmanager
def _instead(name: str, module: ModuleType | None) -> Iterator[None]:
    """In here an import of ``name`` gives this, or fails for None; what is loaded already stays."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
