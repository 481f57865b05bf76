"""What a model believes of many pairs is what it believes of each."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from tests.trainers.asking.pools import candidates, learnt
from trainers.asking.pool import as_preference, pairs_to_ask
from trainers.bradley_terry.beliefs import Beliefs, beliefs_of, differences_for, in_units
from trainers.bradley_terry.features import of_pair
from trainers.bradley_terry.laplace import Laplace
from trainers.bradley_terry.marks import without_marks
from trainers.bradley_terry.reward import confidence, prob_prefer, shrinkage
from trainers.bradley_terry.ties import step_with_ties
from trainers.compiled import Array

POOL = pairs_to_ask(candidates(tasks=6))
REWARD = learnt(POOL[:20], ties=True)
PAIRS = [as_preference(pair) for pair in POOL]


def test_probability_and_confidence_are_those_of_a_published_snapshot() -> None:
    beliefs = beliefs_of(REWARD, differences_for(REWARD, PAIRS))
    for pair, logit, variance in zip(PAIRS, beliefs.logits, beliefs.variances, strict=True):
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(prob_prefer(REWARD, of_pair(pair)), abs=1e-12)
        assert shrinkage(variance) == pytest.approx(confidence(REWARD, of_pair(pair)), abs=1e-12)


def test_marks_far_scores_missing_ones_and_new_critics_count_as_in_a_published_snapshot() -> None:
    odd = [
        replace(PAIRS[0], chosen_critics=PAIRS[0].chosen_critics | changed)
        for changed in ({"goal.task": -999.0}, {"goal.task": None}, {"goal.task": 4.0}, {"new.critic": 1.0})
    ]
    beliefs = beliefs_of(REWARD, differences_for(REWARD, odd))
    for pair, logit in zip(odd, beliefs.logits, strict=True):
        plain = replace(pair, chosen_critics=dict(without_marks(pair.chosen_critics, REWARD.ranges)))
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(prob_prefer(REWARD, of_pair(plain)), abs=1e-12)


def test_what_is_a_mark_depends_on_what_the_snapshots_critics_show() -> None:
    pair = replace(PAIRS[0], chosen_critics=PAIRS[0].chosen_critics | {"goal.task": -1.0})
    at = REWARD.feature_names.index("goal.task")
    for lowest, is_mark in ((-0.2, True), (-5.0, False)):
        reward = replace(REWARD, ranges={"goal.task": (lowest, 1.0, True)})
        assert np.isnan(differences_for(reward, [pair])[0, at]) == is_mark


def test_an_answer_takes_from_the_uncertainty_what_the_learner_takes() -> None:
    names = ["flicker.quality", "goal.task"]
    learner = Laplace(sparsity=0.0, forgetting=0.0).with_features(names)
    X = np.array([[0.3, -0.1], [0.2, 0.4]])
    beliefs = _beliefs(learner, X)
    learner.learn_many_differences(X[:1], np.ones(1))
    assert beliefs.after(0).covariance == pytest.approx(learner.covariance, abs=1e-12)


def test_the_information_of_an_answer_is_that_of_three_where_ties_are_possible() -> None:
    beliefs = beliefs_of(REWARD, differences_for(REWARD, PAIRS))
    assert REWARD.tie_nu > 0
    for logit, v, information in zip(beliefs.logits, beliefs.variances, beliefs.information, strict=True):
        kappa = shrinkage(v)
        assert information == pytest.approx(kappa * step_with_ties(kappa * logit, REWARD.tie_nu, False)[1])


def _beliefs(learner: Laplace, X: Array) -> Beliefs:
    scales = np.array(list(learner.scales.values()))
    weights = np.array(list(learner.weights.values()))
    return Beliefs(in_units(X, 4 * scales, scales), weights, learner.covariance)
