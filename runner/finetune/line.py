"""A model's line of checkpoints, derived from the events of its trainings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from runner.finetune.comparison import PairedTask
from streams.errors import BadInput, counted
from streams.messages.contracts import FinetuneEvent
from trainers.datasets.prompts import prompt_digest

RESERVED = "reserved"
"""Field in the details of ``planned``: digests of the prompts that its checkpoint is compared on."""
SHOWN = "shown"
"""Field in the details of ``dataset``: digests of its goals and captions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What earlier trainings require of the next one. Nothing is ever removed from it."""

    without_promotion: int
    """Number of trainings whose checkpoint may have been compared, and was not promoted."""
    reserved: frozenset[str]
    """Digests of all prompts that checkpoints were, or were to be, compared on."""
    shown: frozenset[str]
    """Digests of the prompts in any dataset, even if its checkpoint was not promoted."""


def line_of(events: Iterable[FinetuneEvent]) -> Line:
    """Derives the line from a model's events; a repeated event counts once.

    A training counts as compared once it was trained. If it was killed during the comparison and then
    restarted with other options, its results may have been seen.
    """
    trained: set[str] = set()
    promoted: set[str] = set()
    reserved: set[str] = set()
    shown: set[str] = set()
    for event in events:
        if event.step == "trained":
            trained.add(event.event_id)
        elif event.step == "promoted":
            promoted.add(event.event_id)
        elif event.step == "planned":
            reserved |= _digests(event, RESERVED)
        elif event.step == "dataset":
            shown |= _digests(event, SHOWN)
    return Line(
        without_promotion=max(0, len(trained) - len(promoted)),
        reserved=frozenset(reserved),
        shown=frozenset(shown),
    )


def comparable(tasks: Sequence[PairedTask], shown: Collection[str]) -> list[PairedTask]:
    """The tasks whose prompts were in no dataset. Raises BadInput if no task is left."""
    left = [task for task in tasks if prompt_digest(task.goal) not in shown]
    if not left:
        raise BadInput(
            f"found {counted(len(prompts_of(tasks)), 'prompt')} to compare checkpoints on, each already in a "
            "dataset of this model; give others with --prompts"
        )
    return left


def prompts_of(tasks: Iterable[PairedTask]) -> frozenset[str]:
    """Digests of the tasks' prompts."""
    return frozenset(prompt_digest(task.goal) for task in tasks)


def with_new_seeds(tasks: Iterable[PairedTask], version: int, without_promotion: int) -> list[PairedTask]:
    """The same tasks with seeds that no other comparison of the line uses.

    So chance in one comparison does not carry over to the next. Two trainings of one version differ in
    ``without_promotion`` once the first was compared. The seeds have 31 bits, and the highest one is set.
    """
    return [
        replace(
            task,
            seed=int(
                np.random.SeedSequence([version, without_promotion, task.seed]).generate_state(1)[0] >> 2
            )
            | 2**30,
        )
        for task in tasks
    ]


def _digests(event: FinetuneEvent, name: str) -> set[str]:
    found = event.details.get(name)
    return {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()
