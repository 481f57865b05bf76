"""evalica's Elo, one pair after another, and its Bradley-Terry, of all pairs at once."""

from __future__ import annotations

import math
from typing import Any

import evalica
import numpy as np
import pandas as pd

from tests.bench.learning_peers.pairs import Pairs, Setting
from tests.bench.learning_peers.ratings import Rater, Ratings

_NATS = math.log(10.0) / 400.0
"""Of a point of Elo."""


class Elo(Rater):
    """Its default is k = 4."""

    settings: tuple[Setting, ...] = ({}, *({"k": k} for k in (8.0, 16.0, 32.0, 64.0)))
    most_orders = 8

    def fit(self, pairs: Pairs, setting: Setting) -> Ratings:
        found = evalica.elo(**_games(pairs), **setting)
        return Ratings(_NATS * found.scores.loc[range(pairs.makers)].to_numpy())


class BradleyTerry(Rater):
    """It has no setting that changes what it learns. A score that came to nothing is kept at 1e-9."""

    settings: tuple[Setting, ...] = ({},)

    def fit(self, pairs: Pairs, setting: Setting) -> Ratings:
        scores = evalica.bradley_terry(**_games(pairs), **setting).scores
        known = np.nan_to_num(scores.loc[range(pairs.makers)].to_numpy(), nan=1e-9)
        return Ratings(np.log(np.maximum(known, 1e-9)))


def _games(pairs: Pairs) -> dict[str, Any]:
    return {
        "xs": pairs.first.tolist(),
        "ys": pairs.second.tolist(),
        "winners": [evalica.Winner.X if won else evalica.Winner.Y for won in pairs.wins.tolist()],
        "index": pd.Index(range(pairs.makers)),
        "weights": pairs.weights.tolist(),
    }


def peer(name: str) -> Elo | BradleyTerry:
    return Elo() if name == "evalica-elo" else BradleyTerry()
