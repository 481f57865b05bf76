"""What ``finetune`` is told to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.command_template import CommandTemplate
from runner.finetune.comparison import PairedTask, WorldOf
from runner.interfaces import AnyCritic
from runner.worlds.process import Listener
from streams.kafka.settings import Settings
from streams.messages.contracts import RewardSnapshot
from trainers.datasets.build import Pictures, WritingRules
from trainers.datasets.choice import Choice, ChoiceRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is trained on what, when, and how checkpoints are compared."""

    kafka: Settings
    model: str
    root: Path
    """Where the folders of the runs are, at any depth."""
    work: Path
    """Of this job alone: plan, datasets, checkpoints and comparisons."""
    base: str
    """Folder or file of the first checkpoint; empty for the world model as it was made."""
    rules: ChoiceRules
    writing: WritingRules
    train: CommandTemplate
    """With the places ``dataset``, ``out``, ``base`` and ``runs``."""
    train_timeout_s: float
    every: int
    """New selected videos that begin a training."""
    tasks: Sequence[PairedTask]
    """What checkpoints are compared on. Their seeds are the beginning of those that a comparison has."""
    world_of: WorldOf
    critics: Sequence[AnyCritic]
    recipe: dict[str, Any]
    """As JSON: what of the above must be the same when a training goes on."""
    max_failures: int = 3
    """Videos of one checkpoint that fail in a row, after which no more of it are tried in a comparison."""
    reward: RewardSnapshot | None = None
    """One that the user gave; else the newest that is published counts, once it is active."""
    pictures: Callable[[Choice], Pictures] = lambda choice: {}
    say: Callable[[str], None] = print
    listener: Listener | None = None
    """Is given what the training prints."""
    after_comparison: Callable[[], None] = lambda: None
    """Lets go of what ``world_of`` has loaded: the next training needs the GPU."""
    on_pair: Callable[[int, int], None] = field(default=lambda done, total: None)
