"""Sums of prediction scores, which can be added up, and the figures computed from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.other_version import LARGEST_SUM, within

if TYPE_CHECKING:
    from trainers.compiled import Array

BINS = 10
"""Bins of equal width over the confidence max(p, 1 − p) in [0.5, 1]."""
_PLAIN = 4
"""Number of sums before those of the bins."""


class PrequentialScores:
    """Test-then-train sums over pairs, each predicted as P(chosen ≻ rejected) before it was learnt."""

    def __init__(self) -> None:
        self._sums: Array = np.zeros(_PLAIN + 3 * BINS)

    @classmethod
    def from_sums(cls, sums: Iterable[float]) -> PrequentialScores:
        """The scores of at least one pair with these ``sums``. Raises ValueError for impossible sums."""
        scores = cls()
        scores._sums = within([*sums], scores._sums.shape, 0.0, LARGEST_SUM, "sums of figures")
        if scores.n < 1:
            raise ValueError("found sums of figures of no pair")
        return scores

    def add(self, p: float, p_reference: float) -> None:
        """Add one pair: the model's prediction, and that of the critics' mean."""
        self.add_many(np.array([p]), np.array([p_reference]))

    def add_many(self, p: Array, p_reference: Array) -> None:
        """Add pairs (n,) in order, bit for bit like adding them one by one."""
        # Imported late: numba is not needed just to read figures.
        from trainers.bradley_terry.kernels import add_predictions

        add_predictions(p, p_reference, _PLAIN, BINS, self._sums)

    @classmethod
    def of(cls, parts: Iterable[PrequentialScores]) -> PrequentialScores:
        """The sum of several scores."""
        total = cls()
        for part in parts:
            total._sums += part._sums
        return total

    @property
    def n(self) -> int:
        """Number of pairs."""
        return int(self._sums[0])

    @property
    def sums(self) -> Array:
        """(4 + 3·BINS,): pairs, right ones, log loss, log loss of the critics' mean; then ``bins``."""
        return self._sums.copy()

    @property
    def bins(self) -> Array:
        """(BINS, 3), per bin of confidence: pairs, summed confidence, pairs that were right."""
        return self._sums[_PLAIN:].reshape(BINS, 3)

    def calibration(self) -> list[dict[str, float]]:
        """Stated and observed frequencies, for each non-empty bin, in order of confidence.

        ``n`` pairs, the mean probability ``stated`` for the side predicted to be better, and how many of
        those predictions were ``right``; a prediction of ½ counts half.
        """
        return [
            {"n": int(n), "stated": float(confidence / n), "right": float(right)}
            for n, confidence, right in self.bins.tolist()
            if n
        ]

    def figures(self) -> dict[str, Any]:
        """Means over the pairs, which must not be empty, and their number."""
        return {"n": self.n} | {name: float(value) for name, value in figures_of(self._sums).items()}


def figures_of(sums: Array) -> dict[str, Array]:
    """Means over the pairs for sums (…, 4 + 3·BINS) of ``PrequentialScores``, each (…,).

    ``ece`` is the expected calibration error (Naeini, Cooper and Hauskrecht 2015, "Obtaining well calibrated
    probabilities using Bayesian binning").
    """
    n = sums[..., 0]
    bins = sums[..., _PLAIN:].reshape(*sums.shape[:-1], BINS, 3)
    return {
        "accuracy": sums[..., 1] / n,
        "log_loss": sums[..., 2] / n,
        "ece": np.abs(bins[..., 2] - bins[..., 1]).sum(axis=-1) / n,
        "log_loss_critics_mean": sums[..., 3] / n,
    }
