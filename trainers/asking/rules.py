"""The expected value of a vote on each pair: pairs with higher scores are asked about first.

With the difference d of a pair, the covariance S of the weights, the variance v = dᵀSd of the logit, and the
information r of an answer about it (p(1 − p), or that of three answers if people report ties), an answer
reduces S by r·(Sd)(Sd)ᵀ/(1 + rv).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainers.bradley_terry.beliefs import answers_to

if TYPE_CHECKING:
    from trainers.bradley_terry.beliefs import Beliefs
    from trainers.compiled import Array

Rule = Callable[["Beliefs", "Beliefs", "Array"], "Array"]
"""Scores (n,) of n pairs to ask about, given the pairs that the model will be used on and their weights."""


def variance(asked: Beliefs, pool: Beliefs, counts: Array) -> Array:
    """The uncertainty of the logit."""
    return asked.variances


def d_optimal(asked: Beliefs, pool: Beliefs, counts: Array) -> Array:
    """Reduction of the log volume of the weights' posterior."""
    return np.log1p(asked.information * asked.variances)


def v_optimal(asked: Beliefs, pool: Beliefs, counts: Array) -> Array:
    """Reduction of the mean variance of the pool's logits."""
    return _fall(asked, pool, counts)


def loss_optimal(asked: Beliefs, pool: Beliefs, counts: Array) -> Array:
    """Reduction of the expected log loss on the pool.

    To second order, uncertainty costs rv/2 on each pair. So each pool pair is weighted by its own
    information: if the answer is known, a better logit is worth little.
    """
    return _fall(asked, pool, counts * pool.information)


def bald(asked: Beliefs, pool: Beliefs, counts: Array) -> Array:
    """Mutual information of answer and weights, in nats (Houlsby et al. 2011, "Bayesian active learning by
    disagreement"), by Gauss–Hermite quadrature over the logit."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    weights /= weights.sum()
    logits = asked.logits[:, None] + np.sqrt(asked.variances)[:, None] * nodes
    answers = answers_to(logits.ravel(), asked.nu).reshape(*logits.shape, 3)
    expected = np.einsum("nka,k->na", answers, weights)
    return np.asarray(_entropy(expected) - _entropy(answers) @ weights)


RULES: Mapping[str, Rule] = {
    "variance": variance,
    "bald": bald,
    "d-optimal": d_optimal,
    "v-optimal": v_optimal,
    "loss-optimal": loss_optimal,
}
DEFAULT_RULE = "loss-optimal"


def _fall(asked: Beliefs, pool: Beliefs, counts: Array) -> Array:
    """(n,): reduction of the pool's mean variance by an answer, its pairs weighted by ``counts``."""
    usual = (pool.z * (counts / counts.sum())[:, None]).T @ pool.z
    shifts = asked.z @ asked.covariance
    r = asked.information
    return np.asarray(r * np.einsum("nd,nd->n", shifts @ usual, shifts) / (1.0 + r * asked.variances))


def _entropy(p: Array) -> Array:
    return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1))
