"""Names of WoW's models."""

from __future__ import annotations

from typing import Literal, get_args

ModelName = Literal["dit-2b", "dit-7b", "wan-14b", "wan-1.3b"]
MODELS: tuple[ModelName, ...] = get_args(ModelName)
