"""The learners' loops over rows of differences, compiled to machine code; they change their arrays in place.

They share one file because numba's cache is only refreshed when the file that calls a kernel changes, so a
kernel from another file could be outdated. They are plain loops without BLAS, whose sums differ between CPUs,
while a replayed model must have the same bits.

Arguments of both learners: each row of ``X`` (n, d) is a difference chosen − rejected, NaN (or an infinity)
where a feature is missing, and ``w`` (n,) are the rows' weights. ``known`` (n + 1,) is the number of columns
that the model knows before each row, and after the last; later columns stay untouched until then. ``ties``
(n,) flags the rows that are ties, and ``nu`` (4,) is the state learnt from them (``ties``). If ``slots`` (n,)
is not −1, the coefficients before the row are copied to that row of ``frozen``. A row without any feature
teaches nothing. Differences are limited by ``within_reach`` in X itself, so that predictions from its rows
use the same values.
"""

from __future__ import annotations

import math

import numpy as np

from trainers.bradley_terry.features import HEADROOM, learnt_up_to, within_reach
from trainers.bradley_terry.losses import gain_of_pair, log_loss
from trainers.bradley_terry.marks import TAKEN, is_listed, is_mark, note_score, range_of
from trainers.bradley_terry.reward import shrinkage, sigmoid
from trainers.bradley_terry.scale_mixture import made_more_precise, refitted
from trainers.bradley_terry.ties import NU, learn_nu, step_with_ties, tie_probability
from trainers.compiled import compiled

BLOCK = 8.0
"""Weight of the pairs whose mean loss is one observation of the drift detector. Pairs of one task are alike,
and each weighs less the more there are, so a long task does not look like drift."""
CLIP = 2.0
"""Upper limit, in nats, on one pair's loss for the detector."""


# Scoring under a published snapshot uses these same functions. After changing them, change this file too:
# numba does not notice otherwise.
_sigmoid = compiled(sigmoid)
_shrinkage = compiled(shrinkage)
_log_loss = compiled(log_loss)
_gain_of_pair = compiled(gain_of_pair)
_within_reach = compiled(within_reach)
_learnt_up_to = compiled(learnt_up_to)
_is_mark = compiled(is_mark)
_is_listed = compiled(is_listed)
_note_score = compiled(note_score)
_range_of = compiled(range_of)
_tie_probability = compiled(tie_probability)
_step_with_ties = compiled(step_with_ties)
_learn_nu = compiled(learn_nu)
posterior_mean = compiled(refitted)
posterior_covariance = compiled(made_more_precise)


@compiled
def _freeze(weights, scale, known, row):  # type: ignore[no-untyped-def]
    """Writes the weights per unit of score to ``row``, with 0 for features that are not known yet."""
    for j in range(len(row)):
        row[j] = weights[j] / scale[j] if j < known else 0.0


@compiled
def _find_present(x, known, present):  # type: ignore[no-untyped-def]
    """Writes the columns that are not missing to ``present``; returns their number."""
    n = 0
    for j in range(known):
        if math.isfinite(x[j]):
            present[n] = j
            n += 1
    return n


@compiled
def grow_units(x, scale, reach, warm_up, largest, far, present):  # type: ignore[no-untyped-def]
    """Records the differences x (d,) and grows the units of warm-up features for which they are out of reach.

    ``largest`` (2, d) are the two largest sizes of each feature's differences. A unit at most doubles, and
    its reach grows no further than ``HEADROOM`` times the second largest, so a single number sets no unit.
    ``far`` (d,) counts the differences that are not learnt; when a unit grows, those of the two largest that
    are still beyond it, because smaller ones may have been right.
    """
    for j in present:
        size = abs(x[j])
        if size > largest[0, j]:
            largest[1, j] = largest[0, j]
            largest[0, j] = size
        elif size > largest[1, j]:
            largest[1, j] = size
        if warm_up[j] > 0.0:
            warm_up[j] -= 1.0
            needed = HEADROOM * largest[1, j] / reach[j]
            if size > reach[j] * scale[j] and needed > scale[j]:
                scale[j] = min(2.0 * scale[j], needed)
                far[j] = 0.0
                for known in largest[:, j]:
                    if known > _learnt_up_to(reach[j] * scale[j]):
                        far[j] += 1.0
                continue
        if size > _learnt_up_to(reach[j] * scale[j]):
            far[j] += 1.0


@compiled
def cut(x, scale, reach, present):  # type: ignore[no-untyped-def]
    """Limits the differences x (d,), and moves those to learn to the front of ``present``.

    Returns the number of those.
    """
    n = 0
    for j in present:
        limit = reach[j] * scale[j]
        if abs(x[j]) <= _learnt_up_to(limit):
            present[n] = j
            n += 1
        x[j] = _within_reach(x[j], limit)
    return n


@compiled
def laplace_rows(  # type: ignore[no-untyped-def]
    X, w, ties, known, slots, start, mean, cov, scale, reach, warm_up, largest, far, prior_mean,
    prior_variance, mixed, sparsity, forgetting, block, nu, frozen, p, is_news,
):  # fmt: skip
    """Learns rows from ``start`` on by the step of ``trainers.bradley_terry.laplace``.

    Copies the served coefficients to ``frozen``: the mean under the prior of ``scale_mixture``. Writes to
    ``p`` (n,) the prediction of each row by the normal posterior before the row was learnt. ``block`` is
    (weight, summed loss) of the unfinished block, without ties. Stops at the end of a block, or after the
    last row; returns the next row, and the mean loss of the finished block, or NaN.
    """
    z = np.empty(len(mean))
    g = np.empty(len(mean))
    columns = np.empty(len(mean), dtype=np.int64)
    for i in range(start, len(X)):
        if slots[i] >= 0:
            served, _ = posterior_mean(mean, cov, known[i], prior_mean, prior_variance, mixed, sparsity)
            _freeze(served, scale, known[i], frozen[slots[i]])
        d = known[i + 1]
        present = columns[: _find_present(X[i], d, columns)]
        if is_news and w[i] != 0.0:
            grow_units(X[i], scale, reach, warm_up, largest, far, present)
        present = present[: cut(X[i], scale, reach, present)]
        if len(present) == 0:
            p[i] = 0.5
            continue
        g[:d] = 0.0
        mu = 0.0
        for k in present:
            z_k = X[i, k] / scale[k]
            z[k] = z_k
            mu += mean[k] * z_k
            for j in range(d):  # cov is symmetric, so this is cov @ z
                g[j] += cov[k, j] * z_k
        v = 0.0
        for k in present:
            v += g[k] * z[k]
        kappa = _shrinkage(v)
        q = _sigmoid(kappa * mu)
        p[i] = q

        _learn_nu(nu, _tie_probability(kappa * mu, nu[NU]), ties[i], w[i])
        if nu[NU] > 0.0:
            gradient, information = _step_with_ties(kappa * mu, nu[NU], ties[i])
            information *= w[i] * kappa
        else:
            gradient, information = 1.0 - q, w[i] * kappa * q * (1.0 - q)
        shrink = information / (1.0 + information * v)
        step = w[i] * gradient / (1.0 + information * v)
        keep = (1.0 - forgetting) ** w[i]
        keep2 = keep * keep
        root = math.sqrt(shrink)  # so that the product below is the same for (j, k) and (k, j)
        for j in range(d):
            mean[j] = prior_mean[j] + keep * (mean[j] + step * g[j] - prior_mean[j])
            g[j] *= root
        for j in range(d):
            for k in range(d):
                cov[j, k] = keep2 * (cov[j, k] - g[j] * g[k])
            cov[j, j] += (1.0 - keep2) * prior_variance

        if ties[i]:
            continue
        block[0] += w[i]
        block[1] += w[i] * (min(-math.log(q), CLIP) if q > 0.0 else CLIP)
        if block[0] >= BLOCK:
            mean_loss = block[1] / block[0]
            block[0] = 0.0
            block[1] = 0.0
            return i + 1, mean_loss
    return len(X), math.nan


@compiled
def expect_information(logits, variances, nu, information):  # type: ignore[no-untyped-def]
    """Writes to information (n,) what ``laplace_rows`` would count for an answer at each of these logits."""
    for i in range(len(logits)):
        kappa = _shrinkage(variances[i])
        _, of_logit = _step_with_ties(kappa * logits[i], nu, True)
        information[i] = kappa * of_logit


@compiled
def expect_answers(logits, nu, p):  # type: ignore[no-untyped-def]
    """Writes to p (n, 3) the probabilities that the first is preferred, neither, or the second."""
    for i in range(len(logits)):
        p[i, 1] = _tie_probability(logits[i], nu)
        p[i, 0] = (1.0 - p[i, 1]) * _sigmoid(logits[i])
        p[i, 2] = 1.0 - p[i, 1] - p[i, 0]


@compiled
def newton_step(g, w, lr, weights, inverse):  # type: ignore[no-untyped-def]
    """One step with the gradient g (d,) of a loss of weight w.

    A + g gᵀ/w has the inverse A⁻¹ − v vᵀ/(w + g·v) with v = A⁻¹g (Sherman and Morrison), and that times g is
    v·w/(w + g·v).
    """
    d = len(g)
    v = np.zeros(d)
    for k in range(d):
        if g[k] != 0.0:
            for j in range(d):  # inverse is symmetric, so this is inverse @ g
                v[j] += inverse[k, j] * g[k]
    g_v = 0.0
    for j in range(d):
        g_v += g[j] * v[j]
    if g_v == 0.0:  # a weight of 0, or no difference: nothing to learn, and 0/0 is possible
        return
    shrink = 1.0 / (w + g_v)
    step = lr * w * shrink
    for j in range(d):
        weights[j] -= step * v[j]
        for k in range(d):
            inverse[j, k] -= shrink * (v[j] * v[k])


@compiled
def newton_rows(  # type: ignore[no-untyped-def]
    X, w, ties, known, slots, lr, weights, inverse, scale, reach, warm_up, largest, far, nu, frozen, p,
    is_news,
):  # fmt: skip
    """Learns rows like River's logistic regression, in its order: sums start from the first feature.

    Writes to ``p`` (n,) the prediction of each row before the row was learnt. A row of weight 0 changes
    nothing.
    """
    columns = np.empty(len(weights), dtype=np.int64)
    for i in range(len(X)):
        if slots[i] >= 0:
            _freeze(weights, scale, known[i], frozen[slots[i]])
        d = known[i + 1]
        present = columns[: _find_present(X[i], d, columns)]
        if is_news and w[i] != 0.0:
            grow_units(X[i], scale, reach, warm_up, largest, far, present)
        present = present[: cut(X[i], scale, reach, present)]
        g = np.zeros(d)
        logit = 0.0
        for j in present:
            g[j] = X[i, j] / scale[j]
            logit += weights[j] * g[j]
        if logit < -30.0:  # as River's sigmoid
            p[i] = 0.0
        elif logit > 30.0:
            p[i] = 1.0
        else:
            p[i] = 1.0 / (1.0 + math.exp(-logit))
        if w[i] == 0.0:
            continue
        if len(present) > 0:
            _learn_nu(nu, _tie_probability(logit, nu[NU]), ties[i], w[i])
        if nu[NU] > 0.0:
            gradient = -_step_with_ties(logit, nu[NU], ties[i]).gradient
        elif logit > 18.0:  # as River's Log.gradient
            gradient = -math.exp(-logit)
        elif logit < -18.0:
            gradient = -1.0
        else:
            gradient = -1.0 / (math.exp(logit) + 1.0)
        gradient *= w[i]
        for j in present:
            g[j] *= gradient
        newton_step(g, w[i], lr, weights[:d], inverse[:d, :d])


@compiled
def blank_marks(values, places, critics, shown, is_news):  # type: ignore[no-untyped-def]
    """Replaces marks among the scores of a pair, at these places (n,) of ``values``, by NaN.

    Score i belongs to the critic with the row ``critics[i]`` of ``shown`` (critics, 12), where all scores are
    recorded first. If the pair is no news, nothing is recorded or counted.
    """
    may_be_any = False
    for i in range(len(places)):
        score = values[places[i]]
        if _is_mark(score, 0.0, 0.0, True):  # anything that could be a mark: range 0, with fractions
            may_be_any = True
        if is_news and not _is_listed(score):
            _note_score(shown[critics[i]], score)
    if may_be_any:
        for i in range(len(places)):
            row = shown[critics[i]]
            lowest, highest, has_fractions = _range_of(row)
            if _is_mark(values[places[i]], lowest, highest, has_fractions):
                values[places[i]] = math.nan
                if is_news:
                    row[TAKEN] += 1.0


@compiled
def fill_rows(  # type: ignore[no-untyped-def]
    values, begins, plans, shown, is_news, first, column, left, right, sign, first_of_mean, at,
    first_score, score_at, critic, X, means,
):  # fmt: skip
    """Writes the differences of n pairs to X (n, d), and those of their critics' means to means (n,).

    The numbers of pair i start at ``begins[i]`` in ``values``, NaN where one is missing. Its plan is
    ``plans[i]``: the entries from ``first[plan]`` to the next plan's first. An entry writes to ``column`` the
    value at ``left`` minus that at ``right``, or ``sign`` if that is not 0. The plan's part of ``at`` has the
    places of the critics in the mean, those of the rejected side as −1 − place. Before that, ``blank_marks``
    uses the plan's parts of ``score_at`` and ``critic``.
    """
    for i in range(len(begins)):
        begin = begins[i]
        plan = plans[i]
        scores = slice(first_score[plan], first_score[plan + 1])
        blank_marks(values[begin:], score_at[scores], critic[scores], shown, is_news)
        for e in range(first[plan], first[plan + 1]):
            difference = sign[e]
            if difference == 0.0:
                difference = values[begin + left[e]] - values[begin + right[e]]
            X[i, column[e]] = difference
        chosen = 0.0
        rejected = 0.0
        n_chosen = 0
        n_rejected = 0
        for e in range(first_of_mean[plan], first_of_mean[plan + 1]):
            place = at[e]
            if place >= 0:
                if math.isfinite(values[begin + place]):
                    chosen += values[begin + place]
                    n_chosen += 1
            elif math.isfinite(values[begin - 1 - place]):
                rejected += values[begin - 1 - place]
                n_rejected += 1
        means[i] = (chosen / n_chosen if n_chosen else 0.0) - (rejected / n_rejected if n_rejected else 0.0)


@compiled
def predict_rows(X, slots, frozen, p):  # type: ignore[no-untyped-def]
    """Writes to p (n,) each row's prediction by its slot's coefficients in ``frozen``; NaN for slot −1."""
    for i in range(len(X)):
        if slots[i] < 0:
            p[i] = math.nan
            continue
        logit = 0.0
        for j in range(X.shape[1]):
            if math.isfinite(X[i, j]):
                logit += X[i, j] * frozen[slots[i], j]
        p[i] = 0.5 if math.isnan(logit) else _sigmoid(logit)


@compiled
def add_predictions(p, p_reference, plain, bins, sums):  # type: ignore[no-untyped-def]
    """Adds pairs in order to the sums of ``PrequentialScores``: ``plain`` sums, then those of the bins."""
    for i in range(len(p)):
        right = 1.0 if p[i] > 0.5 else 0.5 if p[i] == 0.5 else 0.0
        confidence = max(p[i], 1.0 - p[i])
        bin_ = plain + 3 * min(bins - 1, int((confidence - 0.5) * 2 * bins))
        sums[0] += 1.0
        sums[1] += right
        sums[2] += _log_loss(p[i])
        sums[3] += _log_loss(p_reference[i])
        sums[bin_] += 1.0
        sums[bin_ + 1] += confidence
        sums[bin_ + 2] += right


@compiled
def add_gains(p, p_reference, slots, counted, gains, pairs):  # type: ignore[no-untyped-def]
    """Adds the ``trainers.evidence.gate.Gain`` of each ``counted`` pair to its slot.

    Row i adds to the row ``slots[i]`` of ``gains`` (slots, 3) and to ``pairs`` there.
    """
    for i in range(len(p)):
        if counted[i]:
            gain, least, most = _gain_of_pair(p[i], p_reference[i])
            gains[slots[i], 0] += gain
            gains[slots[i], 1] += least
            gains[slots[i], 2] += most
            pairs[slots[i]] += 1
