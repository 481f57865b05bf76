"""The Bradley–Terry reward: P(a ≻ b) = σ(r(a) − r(b)) with a reward linear in the critics' scores.

Bradley & Terry (1952), "Rank analysis of incomplete block designs". The learner is River's logistic
regression on the difference of the two sides, without an intercept (with the chosen side always first, an
intercept learns "first wins"), scaled by a running RMS and never centred (the mean difference is the
signal).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from river import linear_model, optim
from river.utils import VectorDict

from streams.contracts import RewardSnapshot

Scores = Mapping[str, float | None]
"""Critic and mode to score, ``{"flicker.quality": 0.47, …}``; null where the critic gave none."""

_PRIOR_PAIRS = 10
_PRIOR_RMS = 0.25


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


def sigmoid(logit: float) -> float:
    """σ(x) = 1/(1 + e^−x), exact in both tails."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))


def log_loss(probability: float) -> float:
    """−ln p of what happened, with p kept 1e-12 away from 0; nats."""
    return -math.log(max(probability, 1e-12))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Learning rate lr/(1 + weight learnt so far)^power on RMS-scaled differences, and L2 per step."""

    lr: float = 0.1
    power: float = 0.5
    l2: float = 0.0


class BradleyTerry:
    """River's LogisticRegression with a running RMS scale and dense, named features.

    The scale of feature j is s_j = √((Σ d_j² + 10·0.25²)/(n_j + 10)) over the n_j pairs in which both sides
    have the feature.

    >>> model = BradleyTerry()
    >>> for _ in range(50):
    ...     model.learn_pair({"goal.task": 0.9}, {"goal.task": 0.4})
    >>> round(model.frozen().prob_prefer({"goal.task": 0.9}, {"goal.task": 0.4}), 2)
    0.78
    """

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()
        self._n: dict[str, int] = {}
        self._squares: dict[str, float] = {}
        self._weight_learnt = 0.0
        self._model = linear_model.LogisticRegression(
            optimizer=optim.SGD(optim.schedulers.InverseScaling(self.recipe.lr, self.recipe.power)),
            l2=self.recipe.l2,
            intercept_lr=0.0,
        )

    def learn_pair(self, chosen: Scores, rejected: Scores, weight: float = 1.0) -> None:
        """One step on −weight · ln P(chosen ≻ rejected)."""
        differences = difference(chosen, rejected)
        for name, d in differences.items():
            self._n[name] = self._n.get(name, 0) + 1
            self._squares[name] = self._squares.get(name, 0.0) + d * d
        # Every known feature is present, since River's L2 leaves out the features that a step leaves out.
        scales = self.scales
        x = {name: differences.get(name, 0.0) / scale for name, scale in scales.items()}
        # The learning rate falls with the weight learnt: labels at a whisper must not age the learner.
        self._model.optimizer.n_iterations = self._weight_learnt
        self._model.learn_one(x, True, w=weight)
        self._weight_learnt += weight

    @property
    def scales(self) -> dict[str, float]:
        prior = _PRIOR_PAIRS * _PRIOR_RMS**2
        return {
            name: math.sqrt((self._squares[name] + prior) / (n + _PRIOR_PAIRS)) for name, n in self._n.items()
        }

    @property
    def weights(self) -> dict[str, float]:
        """Per RMS of the feature's difference, so that weights of different critics compare."""
        learnt = self._model.weights
        return {name: float(learnt.get(name, 0.0)) for name in self._n}

    def frozen(self) -> LinearReward:
        """The model as it is now; later learning does not change it."""
        return LinearReward(_coefficients(self.weights, self.scales))

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on, as JSON values; floats survive JSON exactly."""
        return {
            "recipe": asdict(self.recipe),
            "weight_learnt": self._weight_learnt,
            "n": dict(self._n),
            "squares": dict(self._squares),
            "weights": self.weights,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BradleyTerry:
        """The model that had this state, to the bit. The order of features is part of the state."""
        model = cls(Recipe(**state["recipe"]))
        model._n = dict(state["n"])
        model._squares = dict(state["squares"])
        model._weight_learnt = state["weight_learnt"]
        model._model._weights = VectorDict(dict(state["weights"]))
        return model


def _coefficients(weights: Mapping[str, float], scales: Mapping[str, float]) -> dict[str, float]:
    return {name: weight / scales[name] for name, weight in weights.items()}
