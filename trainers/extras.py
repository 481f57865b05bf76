"""Checks for the packages of an optional extra; everything else works without them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from streams.errors import BadInput

_PACKAGES = {
    "lora": ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers"),
    "data": ("imagehash", "pyarrow"),
}
_NEEDED_BY = {"lora": "a text reward model", "data": "a dataset"}


def require_extra(extra: Literal["lora", "data"]) -> None:
    """Raises BadInput naming what to install. Imports nothing."""
    missing = [name for name in _PACKAGES[extra] if find_spec(name) is None]
    if missing:
        raise BadInput(
            f"{_NEEDED_BY[extra]} needs {', '.join(missing)}; install the extra with "
            f'pip install -e ".[{extra}]"'
        )
