"""The Bradley–Terry reward: P(a ≻ b) = σ(r(a) − r(b)) with a reward linear in its features.

Bradley & Terry (1952), "Rank analysis of incomplete block designs". Everything here takes the differences of
the two sides that ``trainers.features`` makes, without an intercept (with the chosen side always first, an
intercept learns "first wins") and never centred (the mean difference is the signal).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from streams.messages.contracts import TEXT_MODE, RewardSnapshot
from trainers.estimators import PairEstimator, Recipe
from trainers.features import Scores

Differences = Mapping[str, float]
"""Feature to a − b."""


def critics_mean(scores: Scores) -> float:
    """The plain mean of the scores that are there, texts left out as in the run's reward; 0 where none is."""
    known = [s for name, s in scores.items() if s is not None and not name.endswith(f".{TEXT_MODE}")]
    return math.fsum(known) / len(known) if known else 0.0


@dataclass(frozen=True, slots=True)
class LinearReward:
    """A reward model fixed at one moment: weight per unit of score, per feature."""

    coefficients: Mapping[str, float]

    def prob_prefer(self, d: Differences) -> float:
        """P(a ≻ b) in [0, 1]; 0.5 where nothing that the model knows is in the differences."""
        return sigmoid(math.fsum(value * self.coefficients.get(name, 0.0) for name, value in d.items()))


def prob_prefer(snapshot: RewardSnapshot, d: Differences) -> float:
    """P(a ≻ b) under a published snapshot; the same code as the learner's own predictions."""
    return LinearReward(_coefficients(snapshot.weights, snapshot.scales)).prob_prefer(d)


def confidence(snapshot: RewardSnapshot, d: Differences) -> float:
    """How much of its opinion on a against b a model can vouch for, in [0, 1].

    1/√(1 + πv/8) with the posterior variance v of the logit (MacKay 1992): what remains of the logit when the
    uncertainty of the weights is taken in. 1 for a point estimate.
    """
    if not snapshot.covariance:
        return 1.0
    z = [d.get(name, 0.0) / snapshot.scales[name] for name in snapshot.feature_names]
    variance = math.fsum(
        z_row * math.fsum(value * z_column for value, z_column in zip(row, z, strict=True))
        for z_row, row in zip(z, snapshot.covariance, strict=True)
    )
    return 1.0 / math.sqrt(1.0 + math.pi * max(0.0, variance) / 8.0)


def sigmoid(logit: float) -> float:
    """σ(x) = 1/(1 + e^−x), exact in both tails."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))


class BradleyTerry:
    """Pairs for an estimator of differences, and what it has learnt as a reward.

    >>> model = BradleyTerry()
    >>> for _ in range(50):
    ...     model.learn_pair({"goal.task": 0.5})
    >>> round(model.frozen().prob_prefer({"goal.task": 0.5}), 2)
    0.87
    """

    def __init__(self, estimator: PairEstimator | None = None) -> None:
        self.estimator = Recipe().new() if estimator is None else estimator

    def learn_pair(self, d: Differences, weight: float = 1.0) -> None:
        """One step on −weight · ln P(chosen ≻ rejected), d being chosen − rejected; none for an empty one."""
        if d:
            self.estimator.learn_one(d, True, weight)

    def frozen(self) -> LinearReward:
        """The model as it is now; later learning does not change it."""
        return LinearReward(_coefficients(self.estimator.weights, self.estimator.scales))


def _coefficients(weights: Mapping[str, float], scales: Mapping[str, float]) -> dict[str, float]:
    return {name: weight / scales[name] for name, weight in weights.items()}
