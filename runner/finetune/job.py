"""The settings of a ``finetune`` job."""

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
from streams.messages.contracts import FinetuneEvent, RewardSnapshot
from trainers.datasets.build import Pictures, WritingRules
from trainers.datasets.choice import Choice, ChoiceRules


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneJob:
    """What is trained on which data, when, and how checkpoints are compared."""

    kafka: Settings
    model: str
    root: Path
    """Folder that holds the folders of the runs, at any depth."""
    work: Path
    """This job's own folder: plan, datasets, checkpoints and comparisons."""
    base: str
    """Folder or file of the first checkpoint; empty for the original world model."""
    rules: ChoiceRules
    writing: WritingRules
    train: CommandTemplate
    """The training command, with the placeholders ``dataset``, ``out``, ``base`` and ``runs``."""
    train_timeout_s: float
    every: int
    """Number of new selected videos that starts a training."""
    tasks: Sequence[PairedTask]
    """Tasks that checkpoints are compared on. Each comparison derives its own seeds from theirs."""
    world_of: WorldOf
    critics: Sequence[AnyCritic]
    recipe: dict[str, Any]
    """The settings above that must be the same when a training continues, as JSON."""
    max_failures: int = 3
    """A comparison ends after this many failed pairs in a row, and the job after as many failed rounds."""
    retry_s: float = 600.0
    """Seconds after which a training or comparison that failed is tried again."""
    reward: RewardSnapshot | None = None
    """A snapshot that the user gave; otherwise the newest published one is used, once it is active."""
    pictures: Callable[[Choice], Pictures] = lambda choice: {}
    say: Callable[[str], None] = print
    listener: Listener | None = None
    """Receives the training's output."""
    after_comparison: Callable[[], None] = lambda: None
    """Unloads what ``world_of`` has loaded: the next training needs the GPU."""
    on_pair: Callable[[int, int], None] = field(default=lambda done, total: None)
    on_ended: Callable[[FinetuneEvent], None] = lambda event: None
    """Receives the last event of each training that ends here."""
