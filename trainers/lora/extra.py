"""Checks for the packages of the ``lora`` extra; everything else works without them."""

from __future__ import annotations

from importlib.util import find_spec

from streams.errors import BadInput

_NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers")


def require_extra() -> None:
    """Raises BadInput naming what to install. Imports nothing."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise BadInput(
            f'a text reward model needs {", ".join(missing)}; install the extra with pip install -e ".[lora]"'
        )
