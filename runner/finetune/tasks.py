"""The tasks that checkpoints are compared on: goals from a file or from the simulated world."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from random import Random

import numpy as np

from runner.finetune.comparison import PairedTask, WorldOf
from runner.interfaces import WorldModel
from runner.loop.suite import read_prompts, with_images
from runner.worlds.simulated import SimulatedWorld, random_goal
from runner.worlds.simulated_checkpoint import read_checkpoint
from runner.worlds.subprocess import SubprocessWorld
from streams.errors import BadInput
from streams.files import read_text
from streams.messages.refusals import is_blank

MOST_SIMULATED = 60
"""Number of different goals in the simulated world."""
_SIMULATED = 2**30
"""First seed of the comparison's tasks, which users of ``run simulated`` are unlikely to pick."""


def simulated_tasks(n: int, seeds: int) -> list[PairedTask]:
    """``n`` different goals, at most MOST_SIMULATED, each with ``seeds`` scenes; always the same ones.

    ``random_goal`` never uses their wording, so none of its runs must be kept out of a dataset.
    """
    rng, goals = Random(0), dict[str, None]()
    while len(goals) < n:
        goals.setdefault(random_goal(rng).replace("move", "bring", 1))
    numbers = count(_SIMULATED)
    return [PairedTask(goal, next(numbers)) for goal in goals for _ in range(seeds)]


def tasks_of(path: Path, seeds: int) -> list[PairedTask]:
    """The prompts of a file, each with ``seeds`` seeds: one per line, or WoW's JSON Lines with first frames.

    Raises BadInput.
    """
    if path.suffix in (".jsonl", ".json"):
        prompts = read_prompts(path)
        if any(task.image is not None for task in prompts.tasks):
            prompts = with_images(prompts, [path.parent, Path()])
        goals = [(task.prompt, str(task.image or "")) for task in prompts.tasks]
    else:
        try:
            lines = read_text(path).decode().splitlines()
        except UnicodeDecodeError as error:
            raise BadInput(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from None
        goals = [(line.strip(), "") for line in lines if not is_blank(line)]
        if len(dict(goals)) < len(goals):
            raise BadInput(f"{path}: a prompt appears twice; expected each once, one per line")
    if not goals:
        raise BadInput(f"{path}: the file is empty; expected one prompt a line")
    return [
        PairedTask(goal, _seed(number, repeat), image)
        for number, (goal, image) in enumerate(goals)
        for repeat in range(seeds)
    ]


def simulated(checkpoint: str, task: PairedTask) -> WorldModel:
    """The simulated world of a checkpoint, in the scene of a task."""
    shifts = read_checkpoint(Path(checkpoint)) if checkpoint else None
    return SimulatedWorld(task.goal, task.seed, outcome_share=0.0, checkpoint=shifts)


def generated_by(command: str, timeout_s: float) -> WorldOf:
    """A generator's command that has ``{checkpoint}`` besides the places that ``SubprocessWorld`` fills.

    Raises BadInput if that place is missing or the command is invalid.
    """
    SubprocessWorld(command, timeout_s, Path(), fixed={"checkpoint": ""})
    if "{checkpoint}" not in command:
        raise BadInput(f"the generator's command lacks {{checkpoint}}, the model to compare: {command}")

    def world_of(checkpoint: str, task: PairedTask) -> WorldModel:
        image = Path(task.image) if task.image else None
        return SubprocessWorld(command, timeout_s, image, fixed={"checkpoint": checkpoint})

    return world_of


def _seed(number: int, repeat: int) -> int:
    """31 bits, which every world model accepts."""
    return int(np.random.SeedSequence([number, repeat]).generate_state(1)[0] >> 1)
