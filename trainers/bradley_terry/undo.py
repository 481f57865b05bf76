"""Undoes the step of one pair: finds the state from which learning the pair now would give the present one.

Right after the pair, this is the state before it, except for rounding and forgetting. What later pairs have
taught stays, each as it was seen then. The covariance never becomes wider than its prior, so nothing is
removed that the state does not hold.

It is plain Python, because it is rare; sums are exact (``math.fsum``), so the bits do not depend on the CPU.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streams.messages.limits import MAX_TIE_NU
from trainers.bradley_terry.reward import shrinkage, sigmoid
from trainers.bradley_terry.ties import (
    DECIDED,
    INFORMATION,
    LEAST_NU,
    NU,
    TIES,
    Derivatives,
    step_with_ties,
    tie_probability,
)

if TYPE_CHECKING:
    from trainers.compiled import Array

_STEPS = 60
_LEAST_ROOM = 0.05
"""Lower bound on 1 − (the pair's information)·(the variance before it), which is above 0 for learnt pairs."""
_NO_TIES = 1e-9
"""Weights of ties up to this count as none."""


class _Before(NamedTuple):
    """Mean and variance of the pair's logit before the pair was learnt."""

    mean: float
    variance: float


def undo_laplace(
    z: Array, w: float, tie: bool, mean: Array, cov: Array, nu: Array, prior_variance: float
) -> None:
    """Undoes the step of ``trainers.bradley_terry.laplace`` for the difference z (d,) in units.

    Changes ``mean`` (d,), ``cov`` (d, d) and ``nu`` (4,) in place.
    """
    g = _times(cov, z)
    mu, v = _dot(mean, z), _dot(g, z)
    if not v > 0.0:
        return
    before = _before(mu, v, w, tie, float(nu[NU]), prior_variance * _dot(z, z))
    kappa = shrinkage(before.variance)
    gradient, information = _step(kappa * before.mean, float(nu[NU]), tie)
    information *= w * kappa
    more = information / max(_LEAST_ROOM, 1.0 - information * v)
    held = _held(more, np.diag(cov), g, prior_variance)
    mean -= held * w * gradient * g
    _widen(cov, g, held * more)
    undo_nu(nu, kappa * before.mean, tie, w)


def undo_newton(
    z: Array, w: float, tie: bool, lr: float, weights: Array, inverse: Array, nu: Array, widest: float
) -> None:
    """Undoes the step of ``trainers.bradley_terry.river_logistic`` for the difference z (d,) in units.

    Changes ``weights`` (d,), ``inverse`` (d, d), whose diagonal is at most ``widest``, and ``nu`` (4,) in
    place.
    """
    u = _times(inverse, z)
    after, c = _dot(weights, z), _dot(u, z)
    if not c > 0.0:
        return
    low, high = after - lr * w * c, after + lr * w * c
    for _ in range(_STEPS):
        logit = 0.5 * (low + high)
        if logit + lr * w * _step(logit, float(nu[NU]), tie).gradient * c > after:
            high = logit
        else:
            low = logit
    logit = 0.5 * (low + high)
    gradient = w * _step(logit, float(nu[NU]), tie).gradient
    more = gradient * gradient / max(_LEAST_ROOM * w, w - gradient * gradient * c)
    held = _held(more, np.diag(inverse), u, widest)
    weights -= held * lr * gradient * u
    _widen(inverse, u, held * more)
    undo_nu(nu, logit, tie, w)


def undo_nu(state: Array, logit: float, tie: bool, weight: float) -> None:
    """Undoes ``trainers.bradley_terry.ties.learn_nu``; changes ``state`` (4,) in place."""
    at = TIES if tie else DECIDED
    state[at] = max(0.0, state[at] - weight)
    if state[TIES] <= _NO_TIES:
        state[NU] = state[INFORMATION] = state[TIES] = 0.0
    if not state[NU] > 0.0:
        return
    now = before = float(state[NU])
    for _ in range(_STEPS):
        p = tie_probability(logit, before)
        step = weight * ((1.0 if tie else 0.0) - p) / state[INFORMATION]
        before = now * math.exp(-min(1.0, max(-1.0, step)))
    state[NU] = min(MAX_TIE_NU, max(LEAST_NU, before))
    # At least the information of one tie, because it started with 1 or more.
    state[INFORMATION] = max(min(1.0, state[INFORMATION]), state[INFORMATION] - weight * p * (1.0 - p))


def _before(mu: float, v: float, w: float, tie: bool, nu: float, widest: float) -> _Before:
    """The mean and variance of the logit from which one step leads to ``mu`` and ``v``."""
    mean, variance = mu, v
    for _ in range(_STEPS):
        kappa = shrinkage(variance)
        gradient, information = _step(kappa * mean, nu, tie)
        room = max(_LEAST_ROOM, 1.0 - information * w * kappa * v)
        mean, variance = mu - w * gradient * v, min(v / room, max(v, widest))
    return _Before(mean, variance)


def _step(logit: float, nu: float, tie: bool) -> Derivatives:
    """The step that the kernels take for the pair."""
    if nu > 0.0:
        return step_with_ties(logit, nu, tie)
    q = sigmoid(logit)
    return Derivatives(1.0 - q, q * (1.0 - q))


def _held(more: float, diagonal: Array, g: Array, widest: float) -> float:
    """The largest factor in [0, 1] on ``more``·g gᵀ that keeps the matrix's diagonal within ``widest``."""
    if not more > 0.0:
        return 1.0
    room = np.maximum(widest - diagonal, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = np.where(g != 0.0, room / (more * g * g), np.inf)
    return min(1.0, float(shares.min()))


def _widen(matrix: Array, g: Array, more: float) -> None:
    root = math.sqrt(more) * g  # so that the product is the same for (j, k) and (k, j)
    matrix += root[:, None] * root[None, :]


def _times(matrix: Array, z: Array) -> Array:
    return np.array([_dot(row, z) for row in matrix])


def _dot(a: Array, b: Array) -> float:
    return math.fsum((a * b).tolist())
