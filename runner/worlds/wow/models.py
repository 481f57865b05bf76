"""WoW's models by their names."""

from __future__ import annotations

from runner.worlds.wow.dit_2b import Dit2B
from runner.worlds.wow.dit_7b import Dit7B
from runner.worlds.wow.names import ModelName
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.wan import Wan1B3, Wan14B
from runner.worlds.wow.world import WowWorld

_WORLDS: dict[ModelName, type[WowWorld]] = {
    "dit-2b": Dit2B,
    "dit-7b": Dit7B,
    "wan-14b": Wan14B,
    "wan-1.3b": Wan1B3,
}


def open_world(model: ModelName, settings: WowSettings) -> WowWorld:
    """A model of WoW as a world model; the caller must close it. Raises BadInput naming what is missing."""
    return _WORLDS[model](settings)
