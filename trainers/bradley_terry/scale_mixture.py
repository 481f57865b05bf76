"""The prior of critics' weights: most may matter little, and some much more than usual.

A weight is N(a·m, a²·u), where its scale a is one of ``SCALES`` (a scale mixture of normals: West 1987, "On
scale mixtures of normal distributions"). The learner's own prior is N(m, v), and u = v·min(1, √(6/d)) for d
critics, because what is believed of a pair before any label should not grow with their number. The
proportions of the scales are learnt from the weights (Stephens 2017, "False discovery rates: a new deal"), so
many worthless critics are recognised together. Pseudo-counts express what is expected. That of the smallest
scale grows with the square of d, because not all of many critics will matter (Beta(1, d^c) with c > 1 for the
fraction that does: Castillo, Schmidt-Hieber and van der Vaart 2015, "Bayesian linear regression with sparse
priors").

The posterior is found by expectation propagation (Minka 2001; Hernández-Lobato, Hernández-Lobato and Suárez
2015, "Expectation propagation in linear regression models with spike-and-slab priors"). It starts from the
learner's own N(mean, cov), whose prior N(m, v) is a normal factor for each weight. Without that factor, the
information about the weight w is a normal with precision c and c times mean h, and

    P(scale a)  ∝  (pseudo-count of a + the other weights' P(scale a)) · ∫ N(w; a·m, a²·u) e^{hw − cw²/2} dw.

The factor becomes the normal that gives w the mean and variance of this mixture. All factors are updated at
once, so the order of the features does not matter. Using sums in place of the unknown proportions is
zero-order collapsed variational Bayes (Asuncion et al. 2009, "On smoothing and inference for topic models").

These are plain functions for the kernels to compile: no BLAS, whose sums differ between CPUs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trainers.compiled import Array, Flags

SCALES = (0.125, 1.0, 4.0)
USUAL, LARGE = 2.0, 0.2
"""Pseudo-counts of the second and the third scale."""
_NARROWS_ABOVE = 6.0
"""Number of critics above which the prior narrows."""
_SWEEPS = 2
"""More sweeps change the log loss after 100 pairs on five sets of human preferences by at most .0011."""
_LEAST_PRECISION = 1e-9
"""Smallest precision of the information about a weight without its prior; less is nothing."""
_LEAST_VARIANCE = 1e-15
"""Smallest variance of a weight. Below it a prior is irrelevant, and double precision has no digits left."""
_LEAST_COUNT = 1e-12


def refitted(
    mean: Array,
    cov: Array,
    d: int,
    prior_mean: Array,
    prior_variance: float,
    mixed: Flags,
    sparsity: float,
) -> tuple[Array, Array]:
    """The mean (d,) under the mixture, and the precision (d,) that each weight gains by it, or loses.

    ``mean`` and ``cov`` are those under N(``prior_mean``, ``prior_variance``), and only their first d
    features count. ``mixed`` flags the weights whose prior is the mixture. If there are n of these, the
    smallest scale has the pseudo-count (``sparsity``·n)².
    """
    weights, gained = mean[:d].copy(), np.zeros(d)
    at = np.empty(d, dtype=np.int64)
    n = 0
    for j in range(d):
        if mixed[j]:
            at[n] = j
            n += 1
    m, S, g = np.empty(n), np.empty((n, n)), np.empty(n)
    precision, shift = np.full(n, 1.0 / prior_variance), np.empty(n)
    for i in range(n):
        m[i] = mean[at[i]]
        shift[i] = prior_mean[at[i]] / prior_variance
        for k in range(n):
            S[i, k] = cov[at[i], at[k]]
    scales = len(SCALES)
    expected = np.array([(sparsity * n) ** 2, USUAL, LARGE])
    shares, counts = np.zeros((n, scales)), expected.copy()
    more, moved = np.empty(n), np.empty(n)
    share, means, variances = np.empty(scales), np.empty(scales), np.empty(scales)
    usual = prior_variance * min(1.0, math.sqrt(_NARROWS_ABOVE / max(n, 1)))
    # Between two scales the mixture is wider than either; its factor is never wider than the largest.
    least = 1.0 / (SCALES[-1] * SCALES[-1] * usual)
    most = 1.0 / (SCALES[0] * SCALES[0] * usual)
    for _ in range(_SWEEPS):
        for i in range(n):
            more[i], moved[i] = 0.0, 0.0
            v = S[i, i]
            if not v > _LEAST_VARIANCE:
                continue
            c = max(_LEAST_PRECISION, 1.0 / v - precision[i])
            h = m[i] / v - shift[i]
            likeliest = -math.inf
            for a in range(scales):
                of_scale = SCALES[a] * SCALES[a] * usual
                centre = SCALES[a] * prior_mean[at[i]]
                widened = 1.0 + c * of_scale
                variances[a] = of_scale / widened
                means[a] = (h * of_scale + centre) / widened
                others = max(_LEAST_COUNT, counts[a] - shares[i, a])
                share[a] = math.log(others) - 0.5 * math.log(widened)
                share[a] -= 0.5 * (h - c * centre) ** 2 / (c * widened)
                likeliest = max(likeliest, share[a])
            total = 0.0
            for a in range(scales):
                share[a] = math.exp(share[a] - likeliest)
                total += share[a]
            mixed_mean = 0.0
            for a in range(scales):
                shares[i, a] = share[a] / total
                mixed_mean += shares[i, a] * means[a]
            mixed_variance = 0.0
            for a in range(scales):
                mixed_variance += shares[i, a] * (variances[a] + (means[a] - mixed_mean) ** 2)
            factor = min(most, max(least, 1.0 / mixed_variance - c))
            more[i] = factor - precision[i]
            moved[i] = mixed_mean * (c + factor) - h - shift[i]
        for a in range(scales):
            counts[a] = expected[a]
            for i in range(n):
                counts[a] += shares[i, a]
        for i in range(n):
            grown = 1.0 + more[i] * S[i, i]
            if not grown > 0.0:
                continue
            precision[i] += more[i]
            shift[i] += moved[i]
            step = (moved[i] - more[i] * m[i]) / grown
            root = math.sqrt(abs(more[i]) / grown)  # so that S stays symmetric to the bit
            sign = 1.0 if more[i] > 0.0 else -1.0
            for k in range(n):
                g[k] = S[k, i]
            for k in range(n):
                m[k] += step * g[k]
                g[k] *= root
            for k in range(n):
                for other in range(n):
                    S[k, other] -= sign * (g[k] * g[other])
    for i in range(n):
        gained[at[i]] = precision[i] - 1.0 / prior_variance
        g[i] = shift[i] - prior_mean[at[i]] / prior_variance - gained[at[i]] * m[i]
    for j in range(d):
        if not mixed[j]:  # the other weights follow by covariance
            for i in range(n):
                weights[j] += cov[j, at[i]] * g[i]
    for i in range(n):
        weights[at[i]] = m[i]
    return weights, gained


def made_more_precise(cov: Array, gained: Array) -> Array:
    """(cov⁻¹ + diag(gained))⁻¹ (d, d), symmetric to the bit."""
    S = cov.copy()
    d = len(gained)
    g = np.empty(d)
    for i in range(d):
        grown = 1.0 + gained[i] * S[i, i]
        if gained[i] == 0.0 or not grown > 0.0:
            continue
        root = math.sqrt(abs(gained[i]) / grown)
        sign = 1.0 if gained[i] > 0.0 else -1.0
        for k in range(d):
            g[k] = root * S[k, i]
        for k in range(d):
            for other in range(d):
                S[k, other] -= sign * (g[k] * g[other])
    return S
