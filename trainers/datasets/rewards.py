"""The reward of a video as one number that is comparable across tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.messages.contracts import RewardSnapshot, TraceEvent
from streams.messages.feature_names import is_indicator
from trainers.bradley_terry.features import FAR, differences, numbers, reach_of
from trainers.bradley_terry.reward import shrinkage, sigmoid
from trainers.datasets.samples import Sample

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A video's rating; its ``reward``, in [0, 1], decides whether the video is chosen."""

    reward: float
    probability: float | None = None
    """P(preferred to a random other video of its task) under the snapshot; null without one."""
    confidence: float | None = None
    """How far the snapshot can vouch for that, in [0, 1]: the mean over the other videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedSample:
    """A video and its rating: everything that a choice needs."""

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

    @property
    def rank(self) -> tuple[float, int, str]:
        """Sorts best first. Of two with the same reward, the one that lacks fewer scores is better."""
        return -self.reward, self.sample.lacked, self.id


def rate(samples: Iterable[Sample], snapshot: RewardSnapshot | None = None) -> list[RatedSample]:
    """Every sample with its reward, in their order.

    Without a snapshot the reward is the critics' own. It has the same scale for all tasks, but critics may
    find one task easier than another. With a snapshot it is the expected fraction of the other videos of its
    task that it would win against: the mean over them of ½ + c·(p − ½), with p = P(this ≻ other) and c the
    model's confidence, as in the runner's reward. A Bradley–Terry model learns from differences within tasks,
    so it cannot know what a whole task has in common, and here that cancels: ½ is a typical video of its task
    in every task, and the only video of a task has ½. A validator's or person's judgement of a video is not
    used directly: the snapshot has learnt from those, and the caller can set a limit on it (``min_outcome``).
    """
    samples = list(samples)
    if snapshot is None:
        ratings = {sample.id: Rating(reward=sample.critic_reward) for sample in samples}
    else:
        by_task: dict[str, list[Sample]] = {}
        for sample in samples:
            by_task.setdefault(sample.task, []).append(sample)
        ratings = {}
        for of_task in by_task.values():
            ratings |= _win_rates(of_task, snapshot)
    return [RatedSample(sample=sample, rating=ratings[sample.id]) for sample in samples]


def _win_rates(samples: Sequence[Sample], snapshot: RewardSnapshot) -> dict[str, Rating]:
    # A fixed order and exact sums, so that the order of the samples does not change a bit.
    in_order = sorted(samples, key=lambda sample: sample.id)
    sides_NF = np.array([_side(sample.event, snapshot) for sample in in_order])
    opinions: list[list[tuple[float, float]]] = [[] for _ in in_order]
    for i, side_F in enumerate(sides_NF):
        for j, (p, c) in enumerate(_opinions(side_F - sides_NF[i + 1 :], snapshot), start=i + 1):
            opinions[i].append((p, c))
            opinions[j].append((1.0 - p, c))
    return {sample.id: _mean_rating(said) for sample, said in zip(in_order, opinions, strict=True)}


def _side(event: TraceEvent, snapshot: RewardSnapshot) -> list[float]:
    """A video's contribution to the differences, by feature of the snapshot; NaN where it is unknown.
    The same as within a run; videos of runs with different contexts share what both contribute.
    """
    scores, of_video = event.critic_scores(), event.candidate_context
    brought = differences(
        scores,
        dict.fromkeys(scores, 0.0),
        context=event.context,
        of_a=of_video,
        of_b=dict.fromkeys(numbers(of_video), 0.0),
    )
    return [brought.get(name, 0.0 if is_indicator(name) else math.nan) for name in snapshot.feature_names]


def _opinions(d_MF: Array, snapshot: RewardSnapshot) -> Iterator[tuple[float, float]]:
    """``prob_prefer`` and ``confidence`` of each row of differences, in one batch."""
    if not snapshot.feature_names:
        yield from [(0.5, 1.0)] * len(d_MF)
        return
    names = snapshot.feature_names
    scales_F = np.array([snapshot.scales[name] for name in names])
    weights_F = np.array([snapshot.weights[name] for name in names])
    limits_F = np.array([reach_of(name) for name in names]) * scales_F
    counts = np.abs(d_MF) <= FAR * limits_F  # False for NaN
    z_MF = np.where(counts, np.clip(d_MF, -limits_F, limits_F), 0.0) / scales_F
    variances = np.zeros(len(d_MF))
    if snapshot.covariance:
        variances = np.sum(z_MF @ np.array(snapshot.covariance) * z_MF, axis=1)
    for logit, variance in zip((z_MF @ weights_F).tolist(), variances.tolist(), strict=True):
        yield sigmoid(logit), shrinkage(max(0.0, variance))


def _mean_rating(opinions: Sequence[tuple[float, float]]) -> Rating:
    if not opinions:
        return Rating(reward=0.5, probability=0.5, confidence=0.0)
    n = len(opinions)
    return Rating(
        reward=math.fsum(0.5 + c * (p - 0.5) for p, c in opinions) / n,
        probability=math.fsum(p for p, _ in opinions) / n,
        confidence=math.fsum(c for _, c in opinions) / n,
    )
