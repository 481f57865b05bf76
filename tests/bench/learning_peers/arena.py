"""arena-rank's Bradley-Terry: of who made each side, and with critics as its contextual features.

Each fit compiles anew, about a second, so it is given one order of the first pairs.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pandas as pd
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset

from tests.bench.learning_peers.pairs import Array, Pairs, Setting, sigmoid
from tests.bench.learning_peers.ratings import Rater, Ratings

_MAKER = "@"
"""How the columns that say who made a side begin."""


class _Contextual:
    def __init__(self, pairs: Pairs, setting: Setting) -> None:
        self._critics = [not name.startswith(_MAKER) for name in pairs.features]
        X = pairs.X[:, self._critics]
        spread = X.std(axis=0)
        self._scale = np.where(spread == 0.0, 1.0, spread)
        # As ``ContextualPairDataset.from_pandas`` does by default, but with makers that these pairs lack, and
        # without taking the mean off, which is 0 where sides come in random order.
        known = ContextualPairDataset(
            list(range(pairs.makers)),
            jnp.column_stack([pairs.first, pairs.second]).astype(jnp.int32),
            jnp.asarray(pairs.wins, dtype=jnp.float64),
            jnp.asarray(X / self._scale),
            jnp.asarray(pairs.weights / pairs.weights.mean()),
        )
        model = ContextualBradleyTerry(pairs.makers, X.shape[1], **setting)
        model.fit(known)
        self._ratings = np.asarray(model.params["ratings"])
        self._weights = np.asarray(model.params["coeffs"])

    def predict(self, pairs: Pairs) -> Array:
        logits = (pairs.X[:, self._critics] / self._scale) @ self._weights
        return sigmoid(logits + self._ratings[pairs.first] - self._ratings[pairs.second])


class ArenaRank(Rater):
    """Its defaults are a penalty of 1 on critics' weights and none on ratings; it has no other for those."""

    settings: tuple[Setting, ...] = ({}, {"reg": 0.1}, {"reg": 0.01})
    most_early_orders = 1
    uncertain: tuple[Setting, ...] = ({},)

    def fit(self, pairs: Pairs, setting: Setting) -> _Contextual | Ratings:
        if any(not name.startswith(_MAKER) for name in pairs.features):
            return _Contextual(pairs, setting)
        table = pd.DataFrame(
            {
                "model_a": pairs.first,
                "model_b": pairs.second,
                "winner": np.where(pairs.wins, "model_a", "model_b"),
            }
        )
        known = PairDataset.from_pandas(table)
        model = BradleyTerry(len(known.competitors))
        found = model.compute_ratings_and_cis(known)
        ratings, sds = np.zeros(pairs.makers), np.full(pairs.makers, np.nan)
        ratings[known.competitors] = np.asarray(model.params["ratings"])
        sds[known.competitors] = np.sqrt(np.asarray(found["variances"])) / model.alpha
        return Ratings(ratings, {"sandwich by pair": sds})


def peer(_: str) -> ArenaRank:
    return ArenaRank()
