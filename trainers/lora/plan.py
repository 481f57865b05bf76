"""One periodic training, decided before it begins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
import orjson

from trainers.plan_file import Stamps


class LoraPlan(msgspec.Struct, frozen=True):
    """One training. Its bytes depend only on this, its log, and the earlier adapters."""

    model: str
    version: int
    after: str
    """Checksum of the previous snapshot; empty for the first one."""
    consumed: Stamps
    """How far the pairs topic was read."""
    new_from: Stamps
    """The stamps at which the new pairs begin."""
    topic_ids: dict[str, str]
    recipe: dict[str, Any]
    """Settings, base model, and how the pairs are chosen, as JSON."""


def as_json(recipe: Any) -> dict[str, Any]:
    """A dataclass in the form that it has when read back from JSON."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(asdict(recipe)))
    return found
