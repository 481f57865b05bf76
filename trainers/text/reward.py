"""Rewards of texts by a published text reward model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.errors import BadInput
from streams.messages.contracts import TextSnapshot
from trainers.compiled import Array
from trainers.text.estimator import DiagonalLaplace
from trainers.text.ngrams import check_scheme, grams
from trainers.text.terms import Terms


class NgramReward:
    """A text reward model at one point in time. It is immutable, and so thread-safe."""

    def __init__(self, snapshot: TextSnapshot) -> None:
        """Raises BadInput for a snapshot that this version cannot read."""
        self._terms, self._model = open_state(snapshot)
        for array in self.arrays:
            array.setflags(write=False)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Means and variances of the weights, and document frequencies of the n-grams; read-only."""
        return self._model.mean, self._model.variance, self._terms.with_it

    def rewards(self, texts: Sequence[tuple[str, str]]) -> tuple[Array, Array]:
        """``mean_N`` and ``covariance_NN`` of the rewards of (goal, candidate), in nats; higher is better.

        The goal has no effect: all texts that are compared share it. A draw from this distribution explores
        what is uncertain (Thompson 1933). Texts with mostly the same n-grams have correlated uncertainty.
        """
        if not texts:
            return np.empty(0), np.empty((0, 0))
        features = [self._terms.features(grams(text)) for _, text in texts]
        at = np.unique(np.concatenate([places for places, _ in features]))
        X_ND = np.zeros((len(features), len(at)))
        for row, (places, values) in zip(X_ND, features, strict=True):
            row[np.searchsorted(at, places)] = values
        mean_D, variance_D = (of[at].astype(np.float64) for of in (self._model.mean, self._model.variance))
        return X_ND @ mean_D, (X_ND * variance_D) @ X_ND.T

    def prob_prefer(self, goals: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]) -> Array:
        """P(chosen ≻ rejected) (n,), with the uncertainty of the weights that the two do not share."""
        differences = (
            self._terms.difference(grams(first), grams(second))
            for _, first, second in zip(goals, chosen, rejected, strict=True)
        )
        return np.array([self._model.prob_prefer(*difference) for difference in differences])


def open_state(snapshot: TextSnapshot) -> tuple[Terms, DiagonalLaplace]:
    """The parts of a snapshot's model. Raises BadInput if another version wrote it."""
    source = f"version {snapshot.version} of text model {snapshot.model!r}"
    check_scheme(snapshot.scheme, source)
    try:
        return Terms.from_state(snapshot.learner["terms"]), DiagonalLaplace.from_state(
            snapshot.learner["weights"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{source}: was written by another version of TriBrain, whose state this one cannot read "
            f"({error}); train it again, or give another --model"
        ) from None
