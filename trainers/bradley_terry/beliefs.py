"""A reward model's beliefs about many pairs at once, as arrays: the expected answers and their uncertainty.

Differences count as in ``reward.prob_prefer`` and ``reward.confidence``, which take one pair at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from streams.messages.contracts import PreferencePair, RewardSnapshot
from trainers.bradley_terry.features import FAR, reach_of

if TYPE_CHECKING:
    from trainers.compiled import Array, Flags, Ints


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Beliefs about n pairs, from a normal posterior over d weights."""

    z: Array
    """(n, d): differences in the units of the weights; 0 if missing."""
    weights: Array
    """(d,)"""
    covariance: Array
    """(d, d)"""
    nu: float = 0.0
    """Davidson's ν; 0 if no tie was learnt."""

    def __len__(self) -> int:
        return len(self.z)

    def of(self, rows: Ints | Flags) -> Beliefs:
        """The beliefs about these pairs only."""
        return replace(self, z=self.z[rows])

    @property
    def logits(self) -> Array:
        """(n,): posterior means, in nats."""
        return np.asarray(self.z @ self.weights)

    @property
    def variances(self) -> Array:
        """(n,): variances of the logits, in nats squared."""
        found = np.einsum("nd,nd->n", self.z @ self.covariance, self.z)
        return np.asarray(np.maximum(found, 0.0))

    @property
    def information(self) -> Array:
        """(n,): information of an answer (first, second, or neither) about the logit, as in laplace."""
        from trainers.bradley_terry.kernels import expect_information  # with numba

        found = np.empty(len(self))
        expect_information(self.logits, self.variances, self.nu, found)
        return found

    def after(self, row: int) -> Beliefs:
        """Beliefs after pair ``row`` is answered: less uncertain, with the same means."""
        one = self.of(np.array([row]))
        shift = self.covariance @ one.z[0]
        information = float(one.information[0])
        shrink = information / (1.0 + information * float(one.variances[0]))
        return replace(self, covariance=self.covariance - shrink * np.outer(shift, shift))


def beliefs_of(snapshot: RewardSnapshot, X: Array) -> Beliefs:
    """The beliefs of a published snapshot with a covariance about pairs; X is from ``differences_for`` it."""
    names = snapshot.feature_names
    scales = np.array([snapshot.scales[name] for name in names])
    limits = np.array([reach_of(name) for name in names]) * scales
    return Beliefs(
        z=in_units(X, limits, scales),
        weights=np.array([snapshot.weights[name] for name in names]),
        covariance=np.array(snapshot.covariance).reshape(len(names), len(names)),
        nu=snapshot.tie_nu,
    )


def differences_for(snapshot: RewardSnapshot, pairs: Sequence[PreferencePair]) -> Array:
    """(n, d): chosen − rejected in the columns ``feature_names``; NaN for missing scores or their codes.

    Depends only on the snapshot's ``feature_names``, ``references`` and ``ranges``.
    """
    # Imported late: numba takes a second to load, and callers without a snapshot do not need it.
    from trainers.bradley_terry.rows import RowMaker
    from trainers.bradley_terry.shown import ShownScores
    from trainers.bradley_terry.vocabulary import Vocabulary

    vocabulary = Vocabulary(snapshot.feature_names, snapshot.references)
    vocabulary.close()
    layouts = {tuple(side) for pair in pairs for side in (pair.chosen_critics, pair.rejected_critics)}
    critics = sorted({name for layout in layouts for name in layout})
    maker = RowMaker(vocabulary, ShownScores.of_ranges(critics, snapshot.ranges))
    read = maker.read(pairs)
    plans = [maker.plan(read, i) for i in range(len(pairs))]
    X, _ = maker.rows(read, range(len(pairs)), plans, is_news=False)
    return X


def answers_to(logits: Array, nu: float) -> Array:
    """(n, 3): probabilities that the first, neither, or the second is preferred, from logits (n,)."""
    from trainers.bradley_terry.kernels import expect_answers  # with numba

    found = np.empty((len(logits), 3))
    expect_answers(logits, nu, found)
    return found


def in_units(X: Array, limits: Array, scales: Array) -> Array:
    """Differences (…, d), limited as in ``features.within_reach``, divided by ``scales`` (d,).

    0 if missing, or so far beyond ``limits`` (d,) that it is taken as missing.
    """
    counted = np.where(np.abs(X) > FAR * limits, np.nan, np.clip(X, -limits, limits))
    return np.asarray(np.nan_to_num(counted) / scales)
