"""The Bradley–Terry reward: P(a ≻ b) = σ(r(a) − r(b)) with a reward linear in the critics' scores.

Bradley & Terry (1952), "Rank analysis of incomplete block designs". Learners take the difference of
the two sides, without an intercept (with the chosen side always first, an intercept learns "first wins") and
never centred (the mean difference is the signal).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from streams.contracts import RewardSnapshot
from trainers.estimators import PairEstimator, Recipe

Scores = Mapping[str, float | None]
"""Critic and mode to score, ``{"flicker.quality": 0.47, …}``; null where the critic gave none."""

UNIT = 0.25
"""A usual difference of two critic scores in [0, 1]; weights are per so much. A scale that moved while it is
estimated would make the result depend on the order of the tasks."""
YOUTH = 20
"""Pairs of a critic in which its unit may still grow, for critics that count on a larger scale."""


def difference(a: Scores, b: Scores) -> dict[str, float]:
    """a − b per feature, sorted by name; a critic that is missing on either side is left out."""
    both = sorted(a.keys() & b.keys())
    return {
        name: left - right
        for name in both
        if (left := a[name]) is not None and (right := b[name]) is not None
    }


def critics_mean(scores: Scores) -> float:
    """The plain mean of the scores that are there; 0 where none is."""
    known = [score for score in scores.values() if score is not None]
    return math.fsum(known) / len(known) if known else 0.0


@dataclass(frozen=True, slots=True)
class LinearReward:
    """A reward model fixed at one moment: weight per unit of score, per feature."""

    coefficients: Mapping[str, float]

    def prob_prefer(self, a: Scores, b: Scores) -> float:
        """P(a ≻ b) in [0, 1]; 0.5 where no critic is common to both."""
        return sigmoid(
            math.fsum(d * self.coefficients.get(name, 0.0) for name, d in difference(a, b).items())
        )


def prob_prefer(snapshot: RewardSnapshot, a: Scores, b: Scores) -> float:
    """P(a ≻ b) under a published snapshot; the same code as the learner's own predictions."""
    return LinearReward(_coefficients(snapshot.weights, snapshot.scales)).prob_prefer(a, b)


def confidence(snapshot: RewardSnapshot, a: Scores, b: Scores) -> float:
    """How much of its opinion on a against b a model can vouch for, in [0, 1].

    1/√(1 + πv/8) with the posterior variance v of the logit (MacKay 1992): what remains of the logit when the
    uncertainty of the weights is taken in. 1 for a point estimate.
    """
    if not snapshot.covariance:
        return 1.0
    d = difference(a, b)
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
    ...     model.learn_pair({"goal.task": 0.9}, {"goal.task": 0.4})
    >>> round(model.frozen().prob_prefer({"goal.task": 0.9}, {"goal.task": 0.4}), 2)
    0.77
    """

    def __init__(self, estimator: PairEstimator | None = None) -> None:
        self.estimator = Recipe().new() if estimator is None else estimator

    def learn_pair(self, chosen: Scores, rejected: Scores, weight: float = 1.0) -> None:
        """One step on −weight · ln P(chosen ≻ rejected); without a common critic there is none."""
        if differences := difference(chosen, rejected):
            self.estimator.learn_one(differences, True, weight)

    def frozen(self) -> LinearReward:
        """The model as it is now; later learning does not change it."""
        return LinearReward(_coefficients(self.estimator.weights, self.estimator.scales))


def _coefficients(weights: Mapping[str, float], scales: Mapping[str, float]) -> dict[str, float]:
    return {name: weight / scales[name] for name, weight in weights.items()}
