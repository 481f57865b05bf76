"""Checks for the packages of the ``data`` extra; everything else works without them."""

from __future__ import annotations

from importlib.util import find_spec

from streams.errors import BadInput

_NEEDED = ("imagehash", "pyarrow")


def require_extra() -> None:
    """Raises BadInput naming what to install. Imports nothing."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise BadInput(
            f'a dataset needs {", ".join(missing)}; install the extra with pip install -e ".[data]"'
        )
