"""The uncertainty of a text reward model about reward differences: a Laplace approximation of its head.

The head is a logistic regression on the features from the layers below. The posterior around its trained
weights is approximated by a normal with diagonal precision (MacKay 1992; Kristiadi, Hein and Hennig 2020). It
ignores that the layers below could have been different, so it understates the uncertainty.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_PAIRS = 512
"""Number of pairs used, because each must be scored; they stand for all."""
KNOWS_NOTHING = math.pi / math.sqrt(3.0)
"""Standard deviation of the logistic distribution: that of a reward difference if every probability of
preference is equally likely."""


def head_variances(
    head_H: Array, differences_NH: Array, rewards_N: Array, weights_N: Array, n_pairs: float
) -> Array:
    """Posterior variance (H,) of each of the head's weights.

    Takes N pairs that stand for ``n_pairs``: the differences of their features and of their rewards, chosen
    minus rejected, and their weights. The prior is normal around 0, as wide as the trained weights.
    """
    p_N = 1.0 / (1.0 + np.exp(-np.clip(rewards_N, -700.0, 700.0)))
    counts_N = weights_N * p_N * (1.0 - p_N) * (n_pairs / max(1, len(p_N)))
    prior = max(float(np.mean(head_H**2)), 1e-12)
    return np.asarray(1.0 / (1.0 / prior + counts_N @ differences_NH**2))


def covariance(features_NH: Array, reference_H: Array, variances_H: Array) -> Array:
    """Covariance (N, N) in nats squared of the rewards' differences from that of a reference text."""
    differences_NH = features_NH - reference_H
    return np.asarray((differences_NH * variances_H) @ differences_NH.T)


def deviation_of_log_loss(log_loss: float | None) -> float:
    """Standard deviation when no posterior is known, proportional to the log loss.

    A rule of thumb with the right extremes: 0 for a model that is always right and certain, and
    ``KNOWS_NOTHING`` for one that is no better than chance or was not measured.
    """
    return KNOWS_NOTHING * (1.0 if log_loss is None else min(1.0, log_loss / math.log(2.0)))
