"""One fine-tuning, decided before it begins."""

from __future__ import annotations

import hashlib
from typing import Any, get_args

import msgspec

from streams.messages.contracts import FinetuneStep
from trainers.plan_file import Stamps


class FinetunePlan(msgspec.Struct, frozen=True):
    """Whatever decides a training's data, and whether its checkpoint is promoted, is in here."""

    model: str
    version: int
    after: str
    """Id of the event that ended the training before; empty for the first one."""
    base: str
    """Folder of the checkpoint in force; empty for the world model as it was made."""
    policy: str
    runs: tuple[str, ...]
    """Ids of the runs whose videos are chosen from."""
    chosen: int
    """Videos that the policy chose when this was planned, before any was looked at …"""
    chosen_new: int
    """… and how many of them had come since the training before."""
    snapshot: str
    """The reward snapshot that rates and judges, as it was published; empty: the critics' mean does."""
    consumed: Stamps
    """How far the traces were read."""
    topic_ids: dict[str, str]
    work: str
    """Host and folder of the job that planned it."""
    without_promotion: int
    """Comparisons of this line before that promoted nothing: they decide how much evidence is needed."""
    kept_apart: tuple[str, ...]
    """Digests of the prompts that no checkpoint is trained on: of this comparison, and of those before."""
    passed_over: tuple[str, ...]
    """Digests of the prompts that the checkpoint is not compared on, since one before was trained on them."""
    recipe: dict[str, Any]
    """As JSON: commands, format, and what checkpoints are compared on."""

    def event_id(self, step: str) -> str:
        """32 hexadecimal digits: the same plan and step give the same ones everywhere."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted") + step.encode()).hexdigest()[:32]

    def event_ids(self) -> frozenset[str]:
        """Of all its steps."""
        return frozenset(self.event_id(step) for step in get_args(FinetuneStep))
