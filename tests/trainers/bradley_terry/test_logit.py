"""How sure a reward is of a comparison, against draws of its posterior."""

from __future__ import annotations

import numpy as np
import pytest

from streams.messages.codec import feature_hash, sealed
from streams.messages.contracts import RewardSnapshot
from trainers.bradley_terry.reward import logit_of_mean, prob_prefer, shrinkage, sigmoid

NAMES = ("sharp", "calm", "@arm=task")
WEIGHTS = (0.8, -0.3, 0.5)
SCALES = (0.25, 0.25, 0.25)
COVARIANCE = ((0.04, 0.01, 0.0), (0.01, 0.09, -0.02), (0.0, -0.02, 0.25))


def reward(covariance: tuple[tuple[float, ...], ...] = COVARIANCE) -> RewardSnapshot:
    return sealed(
        RewardSnapshot(
            model="default",
            version=1,
            gate="active",
            statement="made by a test",
            feature_names=NAMES,
            feature_hash=feature_hash(NAMES),
            weights=dict(zip(NAMES, WEIGHTS, strict=True)),
            scales=dict(zip(NAMES, SCALES, strict=True)),
            covariance=covariance,
            labels={},
            metrics={},
        )
    )


SEVERAL = [
    {"sharp": 0.4, "calm": -0.1, "@arm=task": 1.0},
    {"sharp": 0.2, "unknown": 9.0},
    {"calm": 0.3, "@arm=task": -1.0},
]


def test_of_one_comparison_the_probability_is_the_one_that_is_served() -> None:
    for d in SEVERAL:
        believed = logit_of_mean(reward(), [d])
        assert believed.probability == pytest.approx(prob_prefer(reward(), d), rel=1e-14)


def test_the_interval_holds_95_percent_of_what_draws_of_the_posterior_say() -> None:
    weights = np.random.default_rng(0).multivariate_normal(WEIGHTS, COVARIANCE, 100_000)
    z = np.array([[d.get(name, 0.0) / 0.25 for name in NAMES] for d in SEVERAL]).mean(axis=0)
    drawn = np.percentile(weights @ z, [2.5, 97.5])
    ci95 = logit_of_mean(reward(), SEVERAL).ci95
    assert ci95 is not None
    assert ci95 == pytest.approx([sigmoid(end) for end in drawn], abs=0.005)


def test_the_mean_of_several_is_the_mean_of_their_logits() -> None:
    alone = [logit_of_mean(reward(), [d]).mean for d in SEVERAL]
    assert logit_of_mean(reward(), SEVERAL).mean == pytest.approx(np.mean(alone))


def test_turned_round_a_comparison_says_the_opposite_as_surely() -> None:
    believed = logit_of_mean(reward(), SEVERAL)
    turned = logit_of_mean(reward(), [{name: -value for name, value in d.items()} for d in SEVERAL])
    assert (turned.mean, turned.variance) == (-believed.mean, believed.variance)


def test_a_difference_that_stands_for_a_missing_score_says_nothing() -> None:
    assert logit_of_mean(reward(), [{"sharp": -999.0}]) == (0.0, 0.0)


def test_a_point_estimate_has_no_interval() -> None:
    believed = logit_of_mean(reward(covariance=()), SEVERAL)
    assert (believed.variance, believed.ci95) == (None, None)


def test_what_a_run_counts_of_an_opinion_falls_as_its_interval_grows() -> None:
    variance = logit_of_mean(reward(), SEVERAL[:1]).variance
    assert variance is not None
    assert shrinkage(variance) < shrinkage(variance / 4) < 1.0
