"""Stands in for PyTorch in WoW's environment: a checkpoint is JSON here."""

from __future__ import annotations

import json
from typing import Any

__version__ = "2.5.1+double"
float32, bfloat16 = "float32", "bfloat16"


def load(path: str, map_location: str, weights_only: bool) -> Any:
    assert map_location == "cpu"
    with open(path) as file:
        state = json.load(file)
    if weights_only and "needs_pickle" in state:
        raise RuntimeError("Weights only load failed")
    return state


class cuda:
    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def empty_cache() -> None:
        pass
