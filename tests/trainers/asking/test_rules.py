"""What each rule expects a vote to teach is what the vote would change, by its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.trainers.asking.pools import candidates, learnt
from trainers.asking.pool import as_preference, pairs_to_ask
from trainers.asking.rules import RULES, bald, d_optimal, loss_optimal, v_optimal
from trainers.bradley_terry.beliefs import answers_to, beliefs_of, differences_for
from trainers.bradley_terry.reward import sigmoid
from trainers.bradley_terry.ties import tie_probability

PAIRS = pairs_to_ask(candidates(tasks=6))
POOL = [as_preference(pair) for pair in PAIRS]
REWARDS = {ties: learnt(PAIRS[:25], ties=ties) for ties in (False, True)}
BELIEFS = {ties: beliefs_of(reward, differences_for(reward, POOL)) for ties, reward in REWARDS.items()}
COUNTS = np.random.default_rng(0).random(len(POOL))
with_ties = pytest.mark.parametrize("ties", [False, True], ids=["without ties", "with ties"])


@with_ties
def test_v_optimal_is_by_how_much_the_mean_variance_of_the_pool_falls(ties: bool) -> None:
    beliefs = BELIEFS[ties]
    scores = v_optimal(beliefs, beliefs, COUNTS)
    for row in range(0, len(beliefs), 7):
        fall = np.average(beliefs.variances - beliefs.after(row).variances, weights=COUNTS)
        assert scores[row] == pytest.approx(fall)


@with_ties
def test_loss_optimal_counts_a_pair_of_the_pool_by_its_information(ties: bool) -> None:
    beliefs = BELIEFS[ties]
    scores = loss_optimal(beliefs, beliefs, COUNTS)
    for row in range(0, len(beliefs), 7):
        falls = beliefs.variances - beliefs.after(row).variances
        assert scores[row] == pytest.approx(np.average(falls, weights=COUNTS * beliefs.information))


@with_ties
def test_d_optimal_is_by_how_much_the_log_determinant_falls(ties: bool) -> None:
    beliefs = BELIEFS[ties]
    scores = d_optimal(beliefs, beliefs, COUNTS)
    _, before = np.linalg.slogdet(beliefs.covariance)
    for row in range(0, len(beliefs), 7):
        _, after = np.linalg.slogdet(beliefs.after(row).covariance)
        assert scores[row] == pytest.approx(before - after, abs=1e-9)


@with_ties
def test_bald_is_the_mutual_information_of_answer_and_logit(ties: bool) -> None:
    beliefs = BELIEFS[ties]
    scores = bald(beliefs, beliefs, COUNTS)
    row = int(np.argmax(scores))
    drawn = np.random.default_rng(0).normal(beliefs.logits[row], np.sqrt(beliefs.variances[row]), 200_000)
    p = answers_to(drawn, beliefs.nu)
    of_each = -(p * np.log(p.clip(1e-300))).sum(axis=1).mean()
    mean = p.mean(axis=0).clip(1e-300)
    assert scores[row] == pytest.approx(-(mean * np.log(mean)).sum() - of_each, rel=0.03)


@with_ties
def test_answers_are_as_likely_as_davidsons_model_has_them(ties: bool) -> None:
    nu = REWARDS[ties].tie_nu
    assert (nu > 0) == ties
    logits = np.array([-3.0, 0.0, 0.4])
    for logit, (first, tie, second) in zip(logits, answers_to(logits, nu), strict=True):
        assert tie == pytest.approx(tie_probability(logit, nu))
        assert first / (first + second) == pytest.approx(sigmoid(logit))
        assert first + tie + second == pytest.approx(1.0)


@pytest.mark.parametrize("rule", RULES)
def test_a_pair_that_nothing_is_known_of_teaches_nothing(rule: str) -> None:
    beliefs = replace(BELIEFS[False], z=BELIEFS[False].z.copy())
    beliefs.z[0] = 0.0
    scores = RULES[rule](beliefs, beliefs, COUNTS)
    assert scores[0] == pytest.approx(0.0)
    assert (scores[1:] > 0.0).all()
