"""Stands in for PyTorch in WoW's environment: a checkpoint is JSON here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from wow_double import needs  # type: ignore[import-not-found]

__version__ = "2.5.1+double"
float32, bfloat16 = "float32", "bfloat16"


def load(path: str, map_location: str, weights_only: bool) -> Any:
    assert map_location == "cpu"
    needs(path)
    with open(path) as file:
        state = json.load(file)
    if weights_only and "needs_pickle" in state:
        raise RuntimeError("Weights only load failed")
    return state


class Card(NamedTuple):
    total_memory: int


class cuda:
    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def get_device_properties(device: str) -> Card:
        """As an H100 says of itself, unless a test has put another one in."""
        beside = Path(__file__).with_name("card_bytes")
        return Card(int(beside.read_text()) if beside.exists() else 85_029_158_912)

    @staticmethod
    def empty_cache() -> None:
        pass


class nn:
    @staticmethod
    def Parameter(data: Any, requires_grad: bool) -> Any:
        assert not requires_grad
        return data
