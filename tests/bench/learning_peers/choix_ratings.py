"""choix: the mode of the posterior, and expectation propagation. Each pair counts 1."""

from __future__ import annotations

import choix
import numpy as np

from tests.bench.learning_peers.pairs import Array, NoAnswer, Pairs, Setting, sigmoid
from tests.bench.learning_peers.ratings import Rater, Ratings, winners_and_losers


class Mode(Rater):
    """``opt_pairwise``, whose prior of precision 1e-6 by default is none."""

    settings: tuple[Setting, ...] = ({}, *({"alpha": alpha} for alpha in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)))

    def fit(self, pairs: Pairs, setting: Setting) -> Ratings:
        try:
            return Ratings(choix.opt_pairwise(pairs.makers, _games(pairs), **setting))
        except RuntimeError as error:
            raise NoAnswer(str(error)) from error


class _Posterior(Ratings):
    def predict(self, pairs: Pairs) -> Array:
        """With the uncertainty of the ratings taken in (MacKay 1992)."""
        cov = self.uncertainty["posterior"]
        first, second = pairs.first, pairs.second
        variance = cov[first, first] + cov[second, second] - 2.0 * cov[first, second]
        logits = self.ratings[first] - self.ratings[second]
        return sigmoid(logits / np.sqrt(1.0 + np.pi * variance / 8.0))


class Propagation(Rater):
    """``ep_pairwise`` has no default of its prior's precision; 1 is taken for it."""

    settings: tuple[Setting, ...] = tuple({"alpha": alpha} for alpha in (1.0, 0.3, 3.0, 10.0))
    most_early_orders = 2
    uncertain: tuple[Setting, ...] = ({"alpha": 1.0},)

    def fit(self, pairs: Pairs, setting: Setting) -> Ratings:
        try:
            mean, cov = choix.ep_pairwise(pairs.makers, _games(pairs), model="logit", **setting)
        except RuntimeError as error:
            raise NoAnswer(str(error)) from error
        return _Posterior(mean, {"posterior": cov})


def _games(pairs: Pairs) -> list[tuple[int, int]]:
    winners, losers = winners_and_losers(pairs)
    return list(zip(winners.tolist(), losers.tolist(), strict=True))


def peer(name: str) -> Mode | Propagation:
    return Mode() if name == "choix-map" else Propagation()
