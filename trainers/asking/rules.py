"""What a vote on each pair is expected to teach: the higher its score, the rather it is asked.

With the difference d of a pair, the covariance S of the weights, the variance v = dᵀSd of the logit and the
information r of an answer on it (p(1 − p), or that of three answers where people find ties), an answer makes
S smaller by r·(Sd)(Sd)ᵀ/(1 + rv).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainers.bradley_terry.reward import sigmoid
from trainers.bradley_terry.ties import tie_probability

if TYPE_CHECKING:
    from trainers.bradley_terry.beliefs import Beliefs
    from trainers.compiled import Array

Rule = Callable[["Beliefs", "Array"], "Array"]
"""Scores (n,) of n pairs; ``usual`` (d, d) is the mean of ddᵀ over the pairs that the model is for."""


def variance(beliefs: Beliefs, usual: Array) -> Array:
    """How uncertain the model is of the logit."""
    return beliefs.variances


def d_optimal(beliefs: Beliefs, usual: Array) -> Array:
    """By how much the volume of what the weights may be shrinks."""
    return np.log1p(beliefs.information * beliefs.variances)


def v_optimal(beliefs: Beliefs, usual: Array) -> Array:
    """By how much the mean variance of the logits of the usual pairs falls."""
    shifts = beliefs.z @ beliefs.covariance
    r = beliefs.information
    return np.asarray(r * np.einsum("nd,nd->n", shifts @ usual, shifts) / (1.0 + r * beliefs.variances))


def bald(beliefs: Beliefs, usual: Array) -> Array:
    """Mutual information of answer and weights, in nats (Houlsby et al. 2011, "Bayesian active learning by
    disagreement"), over a Gauss–Hermite rule for the logit."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    weights /= weights.sum()
    logits = beliefs.logits[:, None] + np.sqrt(beliefs.variances)[:, None] * nodes
    answers = np.array([_answers(logit, beliefs.nu) for logit in logits.ravel().tolist()])
    answers = answers.reshape(*logits.shape, 3)
    expected = np.einsum("nka,k->na", answers, weights)
    return np.asarray(_entropy(expected) - _entropy(answers) @ weights)


RULES: Mapping[str, Rule] = {
    "variance": variance,
    "bald": bald,
    "d-optimal": d_optimal,
    "v-optimal": v_optimal,
}
DEFAULT_RULE = "v-optimal"


def _answers(logit: float, nu: float) -> tuple[float, float, float]:
    tie = tie_probability(logit, nu)
    first = (1.0 - tie) * sigmoid(logit)
    return first, tie, 1.0 - tie - first


def _entropy(p: Array) -> Array:
    return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1))
