"""River's logistic regression on differences of scores, served as the average of its iterates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from river import base, linear_model, optim
from river.utils import VectorDict

from trainers.features import UNIT, YOUTH


class RiverLogistic(base.Classifier):  # type: ignore[misc]
    """River's LogisticRegression with AdaGrad, without an intercept, in units of ``UNIT`` of difference.

    ``lr`` is AdaGrad's rate (over √(1 + Σ g²), so that labels at a whisper move little), ``l2`` the penalty
    per step, ``prior_mean`` the weight that a new feature begins with: critics are taken to be right until
    pairs say otherwise. What is served is the polynomial-decay average of the iterates (Shamir and Zhang
    2013, "Stochastic gradient descent for non-smooth optimization"), which depends less on the order of
    the tasks. Missing, new and large features are treated as ``Laplace`` does.

    >>> model = RiverLogistic()
    >>> for _ in range(50):
    ...     model.learn_one({"task": 0.5}, True)
    >>> round(model.predict_proba_one({"task": 0.5})[True], 2)
    0.78
    """

    name: ClassVar[str] = "river-logistic"
    AVERAGING: ClassVar[float] = 10.0

    def __init__(self, lr: float = 0.06, l2: float = 0.0, prior_mean: float = 0.12) -> None:
        self.lr = lr
        self.l2 = l2
        self.prior_mean = prior_mean
        self._scale: dict[str, float] = {}
        self._young: dict[str, int] = {}
        self._average: dict[str, float] = {}
        self._weight_learnt = 0.0
        self._model = linear_model.LogisticRegression(
            optimizer=optim.AdaGrad(lr, eps=1.0), l2=l2, intercept_lr=0.0
        )

    @property
    def _multiclass(self) -> bool:
        return False

    def learn_one(self, x: Mapping[str, float], y: bool, w: float = 1.0) -> None:
        """Learn one difference; ``y`` says whether the first side was preferred, ``w`` what it counts."""
        for name, value in x.items():
            if name not in self._scale:
                self._scale[name] = UNIT
                self._young[name] = YOUTH
                self._average[name] = self.prior_mean
                self._model._weights[name] = self.prior_mean
            if self._young[name]:
                self._young[name] -= 1
                while abs(value) > 4.0 * self._scale[name]:
                    self._scale[name] *= 2.0
        # Every known feature is present, since River's L2 leaves out the features that a step leaves out.
        z = {name: x.get(name, 0.0) / scale for name, scale in self._scale.items()}
        self._model.learn_one(z, y, w=w)
        self._weight_learnt += w
        share = min(1.0, (self.AVERAGING + 1.0) * w / (self._weight_learnt + self.AVERAGING))
        now = self._model.weights
        for name, average in self._average.items():
            self._average[name] = average + share * (now[name] - average)

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """P(first preferred to second)."""
        logit = sum(
            self._average.get(name, self.prior_mean) * value / self._scale.get(name, UNIT)
            for name, value in x.items()
        )
        p = float(self._model.loss.mean_func(logit))
        return {True: p, False: 1.0 - p}

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self._scale)

    @property
    def weights(self) -> dict[str, float]:
        """Per ``scales`` of a feature's difference."""
        return dict(self._average)

    @property
    def scales(self) -> dict[str, float]:
        return dict(self._scale)

    @property
    def covariance(self) -> None:
        """A point estimate has none."""
        return None

    @property
    def alarms(self) -> int:
        """It does not watch for drift."""
        return 0

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on, as JSON values; floats survive JSON exactly."""
        squares = self._model.optimizer.g2
        now = self._model.weights
        return {
            "learner": self.name,
            "parameters": self._get_params(),
            "scale": dict(self._scale),
            "young": dict(self._young),
            "average": dict(self._average),
            "weights": {name: float(now[name]) for name in self._scale},
            "squares": {name: float(squares[name]) for name in self._scale},
            "weight_learnt": self._weight_learnt,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RiverLogistic:
        """The estimator that had this state, to the bit. The order of features is part of the state."""
        model = cls(**state["parameters"])
        model._scale = dict(state["scale"])
        model._young = dict(state["young"])
        model._average = dict(state["average"])
        model._weight_learnt = state["weight_learnt"]
        model._model._weights = VectorDict(dict(state["weights"]))
        model._model.optimizer.g2.update(state["squares"])
        return model
