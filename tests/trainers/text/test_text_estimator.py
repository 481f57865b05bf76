"""The estimator of hashed features: River's checks, the formula, and its state."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from river import checks

from trainers.compiled import Array
from trainers.text.estimator import SIZE, DiagonalLaplace
from trainers.text.ngrams import BUCKETS, Ints


@pytest.mark.parametrize(
    "check", list(checks.yield_checks(DiagonalLaplace())), ids=lambda check: check.__name__
)
def test_rivers_own_check_passes(check: Callable[[DiagonalLaplace], None]) -> None:
    check(DiagonalLaplace())


def rows(n: int, seed: int) -> list[tuple[Ints, Array]]:
    rng = np.random.default_rng(seed)
    return [
        (np.sort(rng.choice(200, 30, replace=False)).astype(np.int32), rng.normal(0.05, 0.2, 30))
        for _ in range(n)
    ]


def test_a_step_is_that_of_the_formula() -> None:
    model = DiagonalLaplace(prior_variance=0.5)
    m, s = np.zeros(SIZE), np.full(SIZE, 0.5)
    for at, x in rows(40, seed=1):
        model.learn(at, x, 0.7)
        mu, v = m[at] @ x, s[at] @ x**2
        kappa = 1 / np.sqrt(1 + np.pi * v / 8)
        q = 1 / (1 + np.exp(-kappa * mu))
        r, g = 0.7 * kappa * q * (1 - q), s[at] * x
        m[at] += 0.7 * (1 - q) * g / (1 + r * v)
        s[at] -= r * g**2 / (1 + r * v)
    assert model.mean == pytest.approx(m, abs=1e-5)
    assert model.variance == pytest.approx(s, abs=1e-5)


def test_a_restored_estimator_goes_on_to_the_bit() -> None:
    whole, half = DiagonalLaplace(), DiagonalLaplace()
    for at, x in rows(50, seed=2):
        whole.learn(at, x)
        half.learn(at, x)
    again = DiagonalLaplace.from_state(json.loads(json.dumps(half.state())))
    for at, x in rows(50, seed=3):
        whole.learn(at, x, 0.3)
        again.learn(at, x, 0.3)
    assert again.state() == whole.state()


def test_what_was_learnt_makes_surer_and_the_rest_stays_as_uncertain() -> None:
    model = DiagonalLaplace()
    at, x = rows(1, seed=4)[0]
    before = model.logit(at, x)[1]
    model.learn(at, x)
    assert model.logit(at, x)[1] < before
    assert (np.delete(model.variance, at) == 1.0).all()


def test_tempered_it_is_as_if_pairs_had_counted_that_little() -> None:
    """Exactly so only where steps are small; the logistic is not quadratic."""
    full, tempered, light = (DiagonalLaplace(prior_variance=0.01) for _ in range(3))
    for at, x in rows(100, seed=5):
        full.learn(at, x)
        tempered.learn(at, x)
        light.learn(at, x, 0.1)
    tempered.temper(0.1)
    assert tempered.mean == pytest.approx(light.mean, abs=0.05 * float(np.abs(light.mean).max()))
    assert tempered.variance == pytest.approx(light.variance, rel=0.01)
    assert np.abs(full.mean).max() > 5 * np.abs(tempered.mean).max()


def test_a_weight_of_nothing_teaches_nothing() -> None:
    model = DiagonalLaplace()
    at, x = rows(1, seed=6)[0]
    model.learn(at, x, 0.0)
    assert model.state() == DiagonalLaplace().state()


def test_names_are_hashed_into_a_bounded_number_of_weights() -> None:
    model = DiagonalLaplace()
    model.learn_one({f"feature {n}": 1.0 for n in range(1000)}, True)
    assert len(model.mean) == BUCKETS + 1
    assert model.predict_proba_one({"feature 7": 1.0})[True] > 0.5
    assert model.predict_proba_one({"a new one": 1.0})[True] == 0.5


def test_a_state_that_is_none_is_a_value_error() -> None:
    state = DiagonalLaplace().state()
    for damaged in ({"moved": "!"}, {"moved": "AAAA"}, {"mean": "AAAAAAAAAAA="}):
        with pytest.raises(ValueError, match=r"."):
            DiagonalLaplace.from_state(state | damaged)
