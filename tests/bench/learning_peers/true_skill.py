"""TrueSkill, one pair after another. Each pair counts 1, and none is a draw."""

from __future__ import annotations

import math

import numpy as np
import trueskill

from tests.bench.learning_peers.pairs import Array, Pairs, Setting
from tests.bench.learning_peers.ratings import Rater, Ratings, winners_and_losers


class _Skills(Ratings):
    def predict(self, pairs: Pairs) -> Array:
        """Φ of the difference over its SD, that of both performances and of both skills."""
        sd = self.uncertainty["posterior"]
        beta = self.uncertainty["beta"]
        spread = np.sqrt(2.0 * beta**2 + sd[pairs.first] ** 2 + sd[pairs.second] ** 2)
        z = (self.ratings[pairs.first] - self.ratings[pairs.second]) / spread
        return np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z.tolist()])

    def stated(self) -> dict[str, Array]:
        return {"posterior": self.uncertainty["posterior"]}


class TrueSkill(Rater):
    """Its defaults have μ 25, σ 25/3, β σ/2, τ σ/100 and a tenth of draws; the other settings have none."""

    settings: tuple[Setting, ...] = (
        {},
        *(
            {"draw_probability": 0.0, "beta": beta, "tau": tau}
            for beta in (25 / 6, 25 / 3, 50 / 3, 100 / 3)
            for tau in (0.0, 25 / 300)
        ),
    )
    most_orders, most_early_orders = 4, 4
    uncertain: tuple[Setting, ...] = ({},)

    def fit(self, pairs: Pairs, setting: Setting) -> Ratings:
        world = trueskill.TrueSkill(**setting)
        skills = [world.create_rating() for _ in range(pairs.makers)]
        for winner, loser in zip(*(side.tolist() for side in winners_and_losers(pairs)), strict=True):
            skills[winner], skills[loser] = trueskill.rate_1vs1(skills[winner], skills[loser], env=world)
        means = np.array([skill.mu for skill in skills])
        sds = np.array([skill.sigma for skill in skills])
        return _Skills(means, {"posterior": sds, "beta": np.array(world.beta)})


def peer(_: str) -> TrueSkill:
    return TrueSkill()
