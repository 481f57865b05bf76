"""The runner's reward: the critics' own, moved by what people and trusted judges were seen to prefer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streams.errors import BadInput
from streams.messages.contracts import OVERALL, GateState, RewardSnapshot, TraceEvent
from trainers.bradley_terry import Differences, confidence, prob_prefer, reward_on
from trainers.features import of_events

PreferenceGate = Literal["auto", "require", "ignore"]
"""Who may steer. ``auto``: what its user gave, and of what came by topic the ``active`` alone.
``require``: the ``active`` alone, whoever gave it. ``ignore``: every snapshot, even a shadow."""


LARGEST_SHARE = 1e6
"""Of a dimension beside the others."""


def combined_reward(
    critic_reward: float, probability: float, confidence: float, preference_weight: float
) -> float:
    """critic_reward + preference_weight · c · (2p − 1).

    ``critic_reward`` is the critics' mean in [0, 1], ``probability`` the p in [0, 1] that this candidate is
    preferred to the best of the run so far, ``confidence`` the c in [0, 1], ``preference_weight`` in units
    of the critic reward. The result is within ``preference_weight`` of the critics' reward, and is exactly
    the critics' reward where p = 0.5 or c = 0. Raises ValueError outside these ranges (NaN included).
    """
    if not (
        0.0 <= probability <= 1.0 and 0.0 <= confidence <= 1.0 and 0.0 <= preference_weight < float("inf")
    ):
        raise ValueError(
            f"expected p and c in [0, 1] and a finite weight of at least 0, found p={probability}, "
            f"c={confidence}, weight={preference_weight}"
        )
    return critic_reward + preference_weight * confidence * (2.0 * probability - 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one reward says of a candidate against the best of the run before it."""

    probability: float
    """P(candidate ≻ best)."""
    confidence: float
    """0 where the reward may not steer, and less than 1 for an uncertain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A candidate against the best of the run before it."""

    combined: float
    """The combined reward, in units of the critic reward; the critic reward itself where nothing steers."""
    gain: float | None
    """``combined`` minus the critic reward of the best, since the best against itself has p = 0.5; null for
    the first candidate. Above 0, the candidate is the new best."""
    probability: float | None
    """P(candidate ≻ best) under the snapshot, also of one that may not steer; null without either."""
    confidence: float
    """The c that was used: 0 where the snapshot may not steer, and less than 1 for an uncertain one."""
    by_dimension: Mapping[str, Opinion] = field(default_factory=dict)
    """Of the dimensions that are weighed and known, where any are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePolicy:
    """How much preferences weigh, and which snapshots may steer. Raises BadInput for a bad weight.

    ``weight`` is the most by which a preference can move the critics' reward. ``prefer`` is dimension to what
    it counts beside the others (``overall`` is the whole, which alone counts where none is named).
    ``given_by_user`` says that the feed is a file which the user chose for this run, rather than the topic.
    """

    weight: float = 0.2
    prefer: Mapping[str, float] = field(default_factory=dict)
    gate: PreferenceGate = "auto"
    given_by_user: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < float("inf"):
            raise BadInput(f"preference weight is {self.weight}; expected a finite number of at least 0")
        for name, share in self.prefer.items():
            if not (name and 0.0 < share <= LARGEST_SHARE):
                raise BadInput(
                    f"prefer {name}={share}; expected a dimension and a number above 0, "
                    f"{LARGEST_SHARE:g} at most"
                )

    def steers(self, gate: GateState) -> bool:
        """Whether a snapshot with this gate may steer."""
        return gate == "active" or self.gate == "ignore" or (self.gate == "auto" and self.given_by_user)

    def judge(
        self, candidate: TraceEvent, best: TraceEvent | None, snapshot: RewardSnapshot | None
    ) -> Verdict | None:
        """A candidate against the best of the run before it; null for one that no critic could judge.

        The reward is relative to the best, so the best's own is its critic reward (p = 0.5 against itself)
        and a candidate replaces it when its combined reward is higher. A snapshot which may not steer is
        still asked: the trace shows what it would have said.
        """
        reward = candidate.overall_score
        if reward is None:
            return None
        if best is None or best.overall_score is None:
            return Verdict(combined=reward, gain=None, probability=None, confidence=0.0)
        if snapshot is None:
            return Verdict(
                combined=reward, gain=reward - best.overall_score, probability=None, confidence=0.0
            )
        d = of_events(candidate, best)
        if not self.prefer:
            opinions, whole = {}, self._opinion(snapshot, d)
        else:
            opinions = {
                name: self._opinion(reward_on(snapshot, name), d)
                for name in self.prefer
                if name == OVERALL or name in snapshot.dimensions
            }
            whole = self._weighed(opinions)
        combined = combined_reward(reward, whole.probability, whole.confidence, self.weight)
        return Verdict(
            combined=combined,
            gain=combined - best.overall_score,
            probability=whole.probability,
            confidence=whole.confidence,
            by_dimension=opinions,
        )

    def _opinion(self, known: RewardSnapshot, d: Differences) -> Opinion:
        c = confidence(known, d) if self.steers(known.gate) else 0.0
        return Opinion(probability=prob_prefer(known, d), confidence=c)

    def _weighed(self, opinions: Mapping[str, Opinion]) -> Opinion:
        """One opinion, whose c · (2p − 1) is the mean of the dimensions' by what each counts.

        A dimension of which nothing is known, or that may not steer, has c = 0, and keeps its share.
        """
        shares = {name: self.prefer[name] * of.confidence for name, of in opinions.items()}
        total = math.fsum(shares.values())
        if not total:  # nothing steers: what they would say, by what each counts
            shares = {name: self.prefer[name] for name in opinions}
        said = math.fsum(shares.values())
        p = math.fsum(shares[name] * of.probability for name, of in opinions.items()) / said if said else 0.5
        c = total / math.fsum(self.prefer.values())
        return Opinion(probability=min(1.0, max(0.0, p)), confidence=min(1.0, c))
