"""The models that learn the same pairs side by side, because labels differ in value.

*Trusted* learns from people, validators and judges, and gives critic labels little weight; *smoothing* gives
every label full weight; *reference* knows only the critics' mean, and is what the served model has to beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainers.bradley_terry.estimators import PairEstimator, Recipe, estimator_from_state
from trainers.compiled import Array, Flags, Ints

_MEAN = ("critics_mean",)
_REFERENCE = Recipe(parameters={"prior_variance": 4.0, "drift_delta": 0.0, "sparsity": 0.0})
"""One feature can be learnt fast without harm. Models that are no better than the critics' mean beat a
reference that lags behind: with the models' own rate, the gate opened wrongly in 90 of 200 null runs."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n pairs in order. ``trainers.bradley_terry.kernels`` explains ``known`` and slots."""

    X: Array
    """(n, d): differences by feature."""
    means: Array
    """(n, 1): differences of the critics' means."""
    known: Ints
    """(n + 1,)"""
    weights: Array
    """(n,): each pair's weight as a person's."""
    trusted_weights: Array
    """(n,): its weight relative to labels of people."""
    ties: Flags
    """(n,): whether the pair is a tie."""
    trusted: Flags
    """(n,): whether a person or a validator labelled it."""
    slots: Ints
    """(n,): slot of the pair's task; −1 if a prediction would not be honest."""
    opened: Ints
    """(n,): the slot again if the pair opens its task; else −1."""
    smoothing_serves: Flags
    """(n,): whether the model that is served before the pair is *smoothing*."""
    is_news: bool
    """False if the pairs were learnt before."""


@dataclass(slots=True)
class Models:
    trusted: PairEstimator
    smoothing: PairEstimator
    reference: PairEstimator

    @classmethod
    def new(cls, recipe: Recipe) -> Models:
        """Models that have learnt nothing."""
        return cls(recipe.new(), recipe.new(), _REFERENCE.new())

    def begun_from(self) -> Models:
        """New models with these models' weights as prior means.

        That includes the reference: a model that starts with more knowledge than it would seem better.
        """
        return Models(self.trusted.begun_from(), self.smoothing.begun_from(), self.reference.begun_from())

    def know(self, features: Mapping[str, int]) -> None:
        """Have these features as columns, in order; new ones come last."""
        if len(self.trusted.features) < len(features):
            self.trusted.with_features(list(features))
            self.smoothing.with_features(list(features))

    def learn(self, rows: Rows, served: Array, reference: Array) -> list[int]:
        """Learn the rows, whose features must be known; returns those at which *trusted* saw a drift.

        Before a row that opens a task, the coefficients are written to its slot: those of the model served
        then to ``served`` (slots, d), and the reference's to ``reference`` (slots, 1). The differences are
        limited to the reach of their units.
        """
        of_smoothing = np.where(rows.smoothing_serves, rows.opened, -1)
        of_trusted = np.where(rows.smoothing_serves, -1, rows.opened)
        news = rows.is_news
        self.smoothing.learn_rows(
            rows.X.copy(), rows.weights, rows.ties, rows.known, of_smoothing, served, is_news=news
        )
        _, alarms = self.trusted.learn_rows(
            rows.X, rows.trusted_weights, rows.ties, rows.known, of_trusted, served, is_news=news
        )
        # The reference starts with the first label of a person or a validator, and predicts ½ until then. It
        # learns no ties, because the gate compares predictions without them.
        decided = rows.trusted & ~rows.ties
        begun = np.full(len(rows.X) + 1, len(self.reference.features))
        begun[1:] |= np.logical_or.accumulate(decided)
        if begun[-1]:
            self.reference.with_features(_MEAN)
        means = np.where(decided[:, None], rows.means, np.nan)
        none = np.zeros(len(means), dtype=np.bool_)
        self.reference.learn_rows(means, rows.weights, none, begun, rows.opened, reference, is_news=news)
        rows.means[decided] = means[decided]
        return alarms

    def undo(self, row: Array, mean: Array, weight: float, trusted_weight: float, *, tie: bool) -> None:
        """Undo a person's label, with row (d,) and mean (1,), that was learnt with these weights."""
        self.smoothing.undo(row, weight, tie)
        self.trusted.undo(row, trusted_weight, tie)
        if not tie:
            self.reference.undo(mean, weight, tie)

    def weigh_again(self, row: Array, before: float, now: float, *, tie: bool) -> None:
        """Change the weight of a learnt person's label with row (d,) from ``before`` to ``now``."""
        if now < before:
            self.trusted.undo(row, before - now, tie)
        elif now > before:
            none, known, nothing = np.full(1, -1), np.full(2, len(row)), np.empty((0, len(row)))
            weight, ties = np.array([now - before]), np.array([tie])
            self.trusted.learn_rows(row[None, :], weight, ties, known, none, nothing, is_news=False)

    def state(self) -> dict[str, Any]:
        """Argument of ``from_state``, stored in a learner's state: JSON values, and copies of arrays."""
        return {
            "trusted": self.trusted.state(),
            "smoothing": self.smoothing.state(),
            "reference": self.reference.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Models:
        """The models with this state."""
        parts = (state["trusted"], state["smoothing"], state["reference"])
        return cls(*map(estimator_from_state, parts))


def coefficients(model: PairEstimator) -> Array:
    """(d,): weights per unit of score, in the form that is written to a slot."""
    weights, scales = (np.array(list(of.values()), dtype=np.float64) for of in (model.weights, model.scales))
    return np.asarray(weights / scales)
