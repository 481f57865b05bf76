"""One fine-tuning, decided before it begins."""

from __future__ import annotations

import hashlib
from typing import Any, get_args

import msgspec

from streams.messages.contracts import FinetuneStep
from trainers.plan_file import Stamps


class FinetunePlan(msgspec.Struct, frozen=True):
    """Everything that decides a training's data and whether its checkpoint is promoted."""

    model: str
    version: int
    after: str
    """Id of the event that ended the previous training; empty for the first one."""
    base: str
    """Folder of the current checkpoint; empty for the original world model."""
    policy: str
    runs: tuple[str, ...]
    """Ids of the runs to choose videos from."""
    chosen: int
    """Number of videos that the policy chose when this was planned, before any was opened …"""
    chosen_new: int
    """… and how many of them are new since the previous training."""
    snapshot: str
    """The reward snapshot that rates and judges, as it was published; empty if the critics' mean does."""
    consumed: Stamps
    """The position to which the trace topic was read."""
    topic_ids: dict[str, str]
    work: str
    """Host and folder of the job that made the plan."""
    without_promotion: int
    """Earlier comparisons of this line that promoted nothing; they decide how much evidence is needed."""
    kept_apart: tuple[str, ...]
    """Digests of the prompts that no checkpoint is trained on: those of this and of earlier comparisons."""
    passed_over: tuple[str, ...]
    """Digests of prompts left out of the comparison, because an earlier checkpoint was trained on them."""
    recipe: dict[str, Any]
    """Commands, format, and the tasks that checkpoints are compared on, as JSON."""

    def event_id(self, step: str) -> str:
        """32 hexadecimal digits, which depend only on the plan and the step."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted") + step.encode()).hexdigest()[:32]

    def event_ids(self) -> frozenset[str]:
        """Event ids of all its steps."""
        return frozenset(self.event_id(step) for step in get_args(FinetuneStep))
