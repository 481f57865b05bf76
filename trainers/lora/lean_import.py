"""Transformers' modelling code without what scoring never runs, so that a first score comes sooner.

Its import loads scikit-learn and scipy, for assisted generation and for losses of detection: 0.8 s of 2.5 s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lean_import() -> Iterator[None]:
    """What of Transformers is imported in here finds no scikit-learn and no scipy.

    Changes nothing where its models were imported before.
    """
    if "transformers.modeling_utils" in sys.modules:
        yield
        return
    from transformers import utils
    from transformers.utils import import_utils

    names = ("is_sklearn_available", "is_scipy_available")
    before = [(module, name, getattr(module, name)) for module in (utils, import_utils) for name in names]
    for module, name, _ in before:
        setattr(module, name, _is_not_available)
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


def _is_not_available() -> bool:
    return False
