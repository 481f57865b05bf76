"""How well predictions did: sums that add up, and the figures that they give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

BINS = 10
"""Of equal width over the confidence max(p, 1 − p) in [0.5, 1]."""


def log_loss(probability: float) -> float:
    """−ln p of what happened, with p kept 1e-12 away from 0; nats."""
    return -math.log(max(probability, 1e-12))


@dataclass(slots=True)
class Tally:
    """Test-then-train sums over pairs, each predicted as P(chosen ≻ rejected) before it was learnt."""

    n: int = 0
    correct: float = 0.0
    log_loss: float = 0.0
    log_loss_critics_mean: float = 0.0
    bins: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0, 0.0] for _ in range(BINS)])
    """Per bin of confidence: pairs, summed confidence, pairs that were right."""

    def add(self, p: float, p_reference: float) -> None:
        """One pair: the model's prediction, and that of the critics' mean."""
        right = 1.0 if p > 0.5 else 0.5 if p == 0.5 else 0.0
        self.n += 1
        self.correct += right
        self.log_loss += log_loss(p)
        self.log_loss_critics_mean += log_loss(p_reference)
        confidence = max(p, 1.0 - p)
        bin_ = self.bins[min(BINS - 1, int((confidence - 0.5) * 2 * BINS))]
        bin_[0] += 1.0
        bin_[1] += confidence
        bin_[2] += right

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Tally:
        """Several taken together."""
        total = cls()
        for tally in tallies:
            total.n += tally.n
            total.correct += tally.correct
            total.log_loss += tally.log_loss
            total.log_loss_critics_mean += tally.log_loss_critics_mean
            for mine, theirs in zip(total.bins, tally.bins, strict=True):
                mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]
        return total

    def figures(self) -> dict[str, Any]:
        """Means over the pairs, of which there must be some.

        ``ece`` is the expected calibration error (Naeini, Cooper and Hauskrecht 2015, "Obtaining well
        calibrated probabilities using Bayesian binning").
        """
        return {
            "n": self.n,
            "accuracy": self.correct / self.n,
            "log_loss": self.log_loss / self.n,
            "ece": math.fsum(abs(right - confidence) for _, confidence, right in self.bins) / self.n,
            "log_loss_critics_mean": self.log_loss_critics_mean / self.n,
        }

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Tally:
        return cls(**{**state, "bins": [list(one) for one in state["bins"]]})
