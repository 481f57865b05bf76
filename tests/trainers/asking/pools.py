"""Candidates of several runs, and rewards that were learnt of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from streams.messages.contracts import LabelSource, RewardSnapshot
from trainers.asking.pool import Pair, VotableCandidate, as_preference
from trainers.bradley_terry.estimators import Recipe
from trainers.online.learner import OnlineLearner

CRITICS = ("flicker.quality", "goal.task", "motion.physics")


def candidates(tasks: int = 4, of_each: int = 4, seed: int = 0) -> list[VotableCandidate]:
    """Half of a task's are of one run, half of another; scores at random."""
    rng = np.random.default_rng(seed)
    return [
        VotableCandidate(
            run_id=f"task-{task}-run-{i % 2}",
            iter_idx=i // 2,
            task_id=f"task-{task}",
            critics=dict(zip(CRITICS, rng.random(len(CRITICS)).tolist(), strict=True)),
            context={},
            candidate_context={"arm": f"arm-{int(rng.integers(3))}"},
        )
        for task in range(tasks)
        for i in range(of_each)
    ]


def learnt(
    pairs: Sequence[Pair],
    *,
    recipe: Recipe | None = None,
    label_source: LabelSource = "human",
    ties: bool = False,
    dimension: str = "",
) -> RewardSnapshot:
    """What is published after the first of each pair was preferred; with ``ties`` every third is one."""
    learner = OnlineLearner(recipe=recipe)
    learner.on_messages(
        [
            replace(
                as_preference(pair), label_source=label_source, tie=ties and i % 3 == 0, dimension=dimension
            )
            for i, pair in enumerate(pairs)
        ]
    )
    return learner.snapshot()
