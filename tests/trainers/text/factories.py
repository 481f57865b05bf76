"""Pairs of short texts; good ones say please."""

from __future__ import annotations

import random
from collections.abc import Sequence

from streams.messages.contracts import LabelSource, PreferencePair

_WORDS = ("move", "the", "red", "blue", "cube", "ball", "into", "bowl", "slowly", "camera", "table", "light")


def text_pair(
    chosen: str,
    rejected: str,
    *,
    task_id: str = "task-a",
    run_id: str = "",
    pair_id: str = "",
    label_source: LabelSource = "human",
    weight: float = 1.0,
    goal: str = "a goal",
    model: str = "default",
    judge: str = "",
) -> PreferencePair:
    return PreferencePair(
        model=model,
        task_id=task_id,
        run_id=run_id,
        pair_id=pair_id,
        label_source=label_source,
        weight=weight,
        goal_instruction=goal,
        chosen_prompt=chosen,
        rejected_prompt=rejected,
        chosen_critics={},
        rejected_critics={},
        meta={"judge": judge} if judge else {},
    )


def sentences(n: int, seed: int) -> list[str]:
    """Eight words each, drawn at random."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(_WORDS, k=8)) for _ in range(n)]


def polite_pairs(
    n: int, seed: int = 0, sources: Sequence[LabelSource] = ("human",), run_of: int = 0
) -> list[PreferencePair]:
    """What says please is preferred. ``run_of`` is how many pairs a run has; 0 for pairs without runs."""
    texts = sentences(2 * n, seed)
    return [
        text_pair(
            f"please {texts[2 * i]}",
            texts[2 * i + 1],
            task_id=f"task-{seed}-{i}",
            run_id=f"run-{seed}-{i // run_of}" if run_of else "",
            pair_id=f"pair-{seed}-{i}",
            label_source=sources[i % len(sources)],
            judge="model-x" if sources[i % len(sources)] == "proxy" else "",
        )
        for i in range(n)
    ]
