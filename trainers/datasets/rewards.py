"""What a video is worth, as one number that may be compared across tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from streams.messages.contracts import RewardSnapshot, TraceEvent
from trainers.bradley_terry import confidence, prob_prefer
from trainers.datasets.samples import Sample
from trainers.features import differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """``reward`` is what videos are chosen by, in [0, 1]."""

    reward: float
    probability: float | None = None
    """P(preferred to another video of its task, drawn at random) under the snapshot; null without one."""
    confidence: float | None = None
    """How much of that the snapshot can vouch for, in [0, 1]: the mean over the other videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedSample:
    """A video and its worth; all that a choice needs."""

    sample: Sample
    rating: Rating

    @property
    def id(self) -> str:
        return self.sample.id

    @property
    def task(self) -> str:
        return self.sample.task

    @property
    def reward(self) -> float:
        return self.rating.reward


def rate(samples: Iterable[Sample], snapshot: RewardSnapshot | None = None) -> list[RatedSample]:
    """Every sample with its reward, in their order.

    Without a snapshot the reward is the critics' mean of the video (its ``overall_score``), which is the
    same scale for all tasks, with all that the critics find easy in one task and hard in another.

    With one it is the share of the other videos of its task that it would win against, in expectation:
    the mean over them of ½ + c·(p − ½), with p = P(this ≻ other) and c the model's confidence, as in the
    runner's reward. A Bradley–Terry model is learnt from differences within tasks, so what a whole task has
    in common it cannot know, and here it cancels: ½ is a usual video of its task in every task, and the
    only one of a task has ½. A validator's or person's judgement of a video takes no part: the snapshot has
    learnt from those; as a limit of its own it is the caller's (``min_outcome``).
    """
    samples = list(samples)
    if snapshot is None:
        ratings = {sample.id: Rating(reward=sample.event.overall_score or 0.0) for sample in samples}
    else:
        by_task: dict[str, list[Sample]] = {}
        for sample in samples:
            by_task.setdefault(sample.task, []).append(sample)
        ratings = {}
        for of_task in by_task.values():
            ratings |= _win_rates(of_task, snapshot)
    return [RatedSample(sample=sample, rating=ratings[sample.id]) for sample in samples]


def _win_rates(samples: Sequence[Sample], snapshot: RewardSnapshot) -> dict[str, Rating]:
    # Sums of the exact kind, so that the order of the samples changes no bit.
    opinions: dict[str, list[tuple[float, float]]] = {sample.id: [] for sample in samples}
    for a, b in combinations(samples, 2):
        d = _differences(a.event, b.event)
        p, c = prob_prefer(snapshot, d), confidence(snapshot, d)
        opinions[a.id].append((p, c))
        opinions[b.id].append((1.0 - p, c))
    return {sample_id: _mean_rating(of_sample) for sample_id, of_sample in opinions.items()}


def _mean_rating(opinions: Sequence[tuple[float, float]]) -> Rating:
    if not opinions:
        return Rating(reward=0.5, probability=0.5, confidence=0.0)
    n = len(opinions)
    return Rating(
        reward=math.fsum(0.5 + c * (p - 0.5) for p, c in opinions) / n,
        probability=math.fsum(p for p, _ in opinions) / n,
        confidence=math.fsum(c for _, c in opinions) / n,
    )


def _differences(a: TraceEvent, b: TraceEvent) -> dict[str, float]:
    """As within a run; of runs with unlike contexts, what they share."""
    return differences(
        a.critic_scores(),
        b.critic_scores(),
        context={key: value for key, value in a.context.items() if b.context.get(key) == value},
        of_a=a.candidate_context,
        of_b=b.candidate_context,
    )
