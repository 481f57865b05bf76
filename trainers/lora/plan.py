"""One periodic training, decided before it begins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
import orjson

from trainers.plan_file import Stamps


class LoraPlan(msgspec.Struct, frozen=True):
    """One training. Whatever decides its bytes is in here, in its log, or in the adapters before it."""

    model: str
    version: int
    after: str
    """Checksum of the snapshot before; empty for the first one."""
    consumed: Stamps
    """How far the pairs topic is read."""
    new_from: Stamps
    """Where the pairs begin that are new."""
    topic_ids: dict[str, str]
    recipe: dict[str, Any]
    """As JSON: settings, base model, and how the pairs are chosen."""


def as_json(recipe: Any) -> dict[str, Any]:
    """A dataclass as it looks when it has been read back."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(asdict(recipe)))
    return found
