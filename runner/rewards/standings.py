"""The rewards of a run's candidates: one number each, so the best does not depend on their order.

``reward_i = critic_reward_i + weight · lean_i``, where ``lean_i`` in [−1, 1] is the mean of c · (2p − 1) over
the run's other candidates: how much preferences favour i in comparisons with each of them (a Borda count; de
Borda 1781). A candidate whose critic reward is more than ``weight`` below the run's highest gets no bonus, so
by the critics the pick is never worse than that.

In a run of more than ``SAMPLE`` candidates, i is compared with that many of them, drawn by a hash of
what was measured of each (bottom-k sampling; Cohen and Kaplan 2007). So the sample does not depend on the
order either, and the time for a candidate does not grow with the run.

``trainers.pairs.critic_rewards`` computes ``critic_reward_i`` from the critics' scores.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runner.rewards.preference import PreferencePolicy, RewardComparison
from streams.messages.contracts import RewardSnapshot, TraceEvent
from trainers.pairs.critic_rewards import rewards_in_run, scores_lacked

Array = NDArray[np.float64]

SAMPLE = 32
"""The most candidates that each is compared with: all of a run of 8 iterations with 4 candidates each."""


def combined_rewards(critic_N: Array, lean_N: Array, weight: float) -> Array:
    """Rewards (…, N) from critic rewards and leans, both (…, N); see the top of this module.

    Each is within ``weight`` of its critic reward, and equals it exactly if the lean or the weight is 0.
    """
    too_low_N = critic_N < critic_N.max(axis=-1, keepdims=True) - weight
    moved_N: Array = critic_N + weight * np.where(too_low_N, np.minimum(lean_N, 0.0), lean_N)
    return moved_N


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A candidate's standing among those of the run so far, under the snapshot in use."""

    reward: float
    """The combined reward, in units of the critic reward; equal to the critic reward if nothing steers."""
    critic_reward: float
    probability: float | None
    """Mean P(candidate ≻ other), even if the snapshot may not steer; null without a snapshot or others."""
    confidence: float
    """Mean c: 0 if the snapshot may not steer, and less than 1 if it is uncertain."""
    lacked: int = 0
    """Scores that others have and it lacks."""
    by_dimension: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Mean (probability, confidence) on each weighted and known dimension."""


class Standings:
    """The judged candidates of one run; skips those that no critic could judge.

    A newer snapshot scores all of them again.
    """

    def __init__(self, policy: PreferencePolicy) -> None:
        self._policy = policy
        self._events: list[TraceEvent] = []
        self._keys: dict[int, bytes] = {}
        """The hash that decides which candidates are in the sample, by ``iter_idx``."""
        self._snapshot: RewardSnapshot | None = None
        self._opinions: dict[int, dict[int, RewardComparison]] = {}
        """Each candidate's comparisons with the others of the sample, by ``iter_idx``."""

    def add(self, event: TraceEvent) -> None:
        """Adds a candidate; ignores one without an overall score."""
        if event.overall_score is not None:
            self._events.append(event)
            self._keys[event.iter_idx] = _key(event)

    def under(self, snapshot: RewardSnapshot | None) -> dict[int, Standing]:
        """Every judged candidate's standing under this snapshot, by ``iter_idx``, in order of arrival."""
        if snapshot is not self._snapshot:
            self._opinions, self._snapshot = {}, snapshot
        if not self._events:
            return {}
        sample = heapq.nsmallest(
            SAMPLE, self._events, key=lambda one: (self._keys[one.iter_idx], one.iter_idx)
        )
        opinions = [self._against(sample, event) for event in self._events]
        of_critics = rewards_in_run(self._events)
        critics = np.array([of_critics[event.iter_idx] for event in self._events])
        leans = np.array([_mean(opinion.lean for opinion in of) for of in opinions])
        rewards = combined_rewards(critics, leans, self._policy.weight)
        lacked = scores_lacked(self._events)
        found = zip(self._events, rewards, critics, lacked, opinions, strict=True)
        return {
            event.iter_idx: _standing(float(reward), float(critic), n_lacked, of)
            for event, reward, critic, n_lacked, of in found
        }

    def _against(self, sample: Iterable[TraceEvent], event: TraceEvent) -> list[RewardComparison]:
        if self._snapshot is None:
            return []
        known = self._opinions.get(event.iter_idx, {})
        self._opinions[event.iter_idx] = {
            other.iter_idx: known.get(other.iter_idx) or self._policy.compare(event, other, self._snapshot)
            for other in sample
            if other is not event
        }
        return list(self._opinions[event.iter_idx].values())


def best_of(standings: Mapping[int, Standing]) -> int | None:
    """The ``iter_idx`` with the highest reward; null if there are none.

    Of several that are equal, those that lack the fewest scores, and of those the earliest. So a candidate
    that a critic failed on wins against no fully judged one by coming first.
    """
    return min(standings, key=lambda idx: (-standings[idx].reward, standings[idx].lacked, idx), default=None)


def _standing(
    reward: float, critic_reward: float, lacked: int, opinions: Sequence[RewardComparison]
) -> Standing:
    names = dict.fromkeys(name for opinion in opinions for name in opinion.by_dimension)
    return Standing(
        reward=reward,
        critic_reward=critic_reward,
        lacked=lacked,
        probability=_mean(opinion.probability for opinion in opinions) if opinions else None,
        confidence=_mean(opinion.confidence for opinion in opinions),
        by_dimension={
            name: (
                _mean(opinion.by_dimension[name].probability for opinion in opinions),
                _mean(opinion.by_dimension[name].confidence for opinion in opinions),
            )
            for name in names
        },
    )


def _key(event: TraceEvent) -> bytes:
    """A hash of what was measured of a candidate, whatever its place in the run."""
    measured = [sorted(of.items()) for of in (event.critic_scores(), event.candidate_context)]
    return hashlib.blake2b(repr(measured).encode(errors="surrogatepass"), digest_size=16).digest()


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known) if known else 0.0
