"""The candidate of two that people and trusted judges would prefer, and how much that may count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streams.errors import BadInput
from streams.messages.contracts import OVERALL, GateState, RewardSnapshot, TraceEvent
from trainers.bradley_terry.features import of_events
from trainers.bradley_terry.reward import Differences, confidence, prob_prefer, reward_on

PreferenceGate = Literal["auto", "require", "ignore"]
"""The snapshots that may steer. ``auto``: those given by the user, and published ones that are ``active``.
``require``: only ``active`` ones, from either source. ``ignore``: every snapshot, even a shadow."""


LARGEST_SHARE = 1e6
"""Largest weight of a dimension relative to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardComparison:
    """The rewards' comparison of one candidate with another."""

    probability: float
    """P(candidate ≻ other)."""
    confidence: float
    """0 if the reward may not steer, and less than 1 if it is uncertain."""
    by_dimension: Mapping[str, RewardComparison] = field(default_factory=dict)
    """Comparisons by dimension, for the weighted and known ones, if any."""

    @property
    def lean(self) -> float:
        """c · (2p − 1) in [−1, 1]: positive in favour of the candidate, 0 without an opinion."""
        return self.confidence * (2.0 * self.probability - 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePolicy:
    """How much preferences weigh, and which snapshots may steer. Raises BadInput for a bad weight.

    ``weight`` is the most by which preferences can move a candidate's reward, in units of the critics'
    reward. It also bounds how much worse than the best the pick can be by the critics. ``prefer`` maps
    dimensions to their relative weights (``overall`` is the whole, and counts alone if none is named).
    ``given_by_user`` means that the snapshot is from a file that the user chose for this run, not from the
    topic.
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

    def compare(self, candidate: TraceEvent, other: TraceEvent, snapshot: RewardSnapshot) -> RewardComparison:
        """Compares a candidate with another of its run; features that only one of them has are left out.
        A snapshot that may not steer is still asked: the trace shows what it would have said.
        """
        d = of_events(candidate, other)
        if not self.prefer:
            return self._opinion(snapshot, d)
        return self._weighed(
            {
                name: self._opinion(reward_on(snapshot, name), d)
                for name in self.prefer
                if name == OVERALL or name in snapshot.dimensions
            }
        )

    def _opinion(self, known: RewardSnapshot, d: Differences) -> RewardComparison:
        c = confidence(known, d) if self.steers(known.gate) else 0.0
        return RewardComparison(probability=prob_prefer(known, d), confidence=c)

    def _weighed(self, opinions: Mapping[str, RewardComparison]) -> RewardComparison:
        """One opinion whose c · (2p − 1) is the weighted mean over the dimensions.
        A dimension that is unknown or may not steer has c = 0, and keeps its weight.
        """
        shares = {name: self.prefer[name] * of.confidence for name, of in opinions.items()}
        total = math.fsum(shares.values())
        if not total:  # nothing steers: the weighted mean that they would give
            shares = {name: self.prefer[name] for name in opinions}
        said = math.fsum(shares.values())
        p = math.fsum(shares[name] * of.probability for name, of in opinions.items()) / said if said else 0.5
        c = total / math.fsum(self.prefer.values())
        return RewardComparison(
            probability=min(1.0, max(0.0, p)), confidence=min(1.0, c), by_dimension=opinions
        )
