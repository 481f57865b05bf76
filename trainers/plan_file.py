"""The plan of a periodic job, on disk, so that a job that was killed continues with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import orjson

from streams.errors import BadInput
from streams.files import write_atomically

Stamps = dict[str, dict[str, int]]
"""Topic to partition to next offset."""

Plan = TypeVar("Plan", bound=msgspec.Struct)


class PlanFile(Generic[Plan]):
    """``plan.json`` in the work folder: complete or absent."""

    def __init__(self, work: Path, kind: type[Plan]) -> None:
        self.path = work / "plan.json"
        self._kind = kind

    def load(self) -> Plan | None:
        """The plan; None if there is none that can be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def save(self, plan: Plan) -> None:
        """Write the plan. Raises BadInput."""
        content = orjson.dumps(msgspec.to_builtins(plan), option=orjson.OPT_INDENT_2)
        try:
            write_atomically(self.path, content)
        except OSError as error:
            raise BadInput(
                f"{self.path}: cannot be written: {error.strerror}; choose another --work-dir"
            ) from None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def as_stamp(consumed: Mapping[int, int]) -> dict[str, int]:
    """Offsets in the form of a snapshot."""
    return {str(partition): offset for partition, offset in sorted(consumed.items())}


def of_topic(stamps: Stamps, topic: str) -> dict[int, int]:
    """The offsets of one topic."""
    return {int(partition): offset for partition, offset in stamps.get(topic, {}).items()}


def stamp_of(stamps: Stamps, ids: Mapping[str, str], topic: str, now: Mapping[str, str]) -> dict[int, int]:
    """How far a snapshot has read the topic; empty if that was recreated (``now`` has its current id)."""
    return of_topic(stamps, topic) if ids.get(topic) == now.get(topic) else {}
