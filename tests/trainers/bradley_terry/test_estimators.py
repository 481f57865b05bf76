"""What holds of every learner, and of each by itself: formulas, bits, missing critics, drift."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from river import checks
from sklearn.linear_model import LogisticRegression

from streams.errors import BadInput
from trainers.bradley_terry.estimators import (
    LEARNERS,
    LearnerName,
    PairEstimator,
    Recipe,
    estimator_from_state,
)
from trainers.bradley_terry.laplace import Laplace
from trainers.bradley_terry.river_logistic import RiverLogistic
from trainers.compiled import Array

UNIT = 0.25
every_learner = pytest.mark.parametrize("learner", LEARNERS)


def new(learner: LearnerName) -> PairEstimator:
    return Recipe(learner=learner).new()


def saved(model: PairEstimator) -> dict[str, Any]:
    """Its state as it is read back from JSON."""
    state: dict[str, Any] = orjson.loads(orjson.dumps(model.state(), option=orjson.OPT_SERIALIZE_NUMPY))
    return state


def differences(n: int, weights: Array, seed: int) -> Array:
    """Rows in favour of what a logistic model with these weights (per UNIT) prefers."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0, UNIT, (n, len(weights)))
    prefers = rng.random(n) < 1 / (1 + np.exp(-X @ weights / UNIT))
    return np.where(prefers[:, None], X, -X)


def rows(X: Array) -> list[dict[str, float]]:
    return [{f"c{j:02d}": float(x) for j, x in enumerate(row) if not math.isnan(x)} for row in X]


@pytest.mark.parametrize(
    ("learner", "check"),
    [(learner, check) for learner in LEARNERS for check in checks.yield_checks(new(learner))],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_rivers_own_check_passes(learner: LearnerName, check: Callable[[PairEstimator], None]) -> None:
    check(new(learner))


@pytest.mark.parametrize("at", [7, 301])
@every_learner
def test_a_restored_estimator_goes_on_to_the_bit(learner: LearnerName, at: int) -> None:
    X = differences(600, np.array([0.5, -0.3, 0.0]), seed=1)
    X[[12, 400]] *= 50.0  # the unit of a new critic grows
    stream = rows(X)
    whole, half = new(learner), new(learner)
    for x in stream[:at]:
        whole.learn_one(x, True)
        half.learn_one(x, True)
    again = estimator_from_state(saved(half))
    for x in stream[at:]:
        whole.learn_one(x, True, 0.7)
        again.learn_one(x, True, 0.7)
    assert saved(again) == saved(whole)


@every_learner
def test_one_pass_comes_within_four_thousandths_of_the_batch_optimum_in_log_loss(
    learner: LearnerName,
) -> None:
    X = differences(4000, np.array([0.9, -0.4, 0.1]), seed=5)
    model = new(learner)
    for x in rows(X):
        model.learn_one(x, True)
    online = np.array([model.weights[name] / model.scales[name] for name in sorted(model.weights)])
    batch = LogisticRegression(fit_intercept=False).fit(np.vstack([X, -X]), [1] * len(X) + [0] * len(X))

    def log_loss(coefficients: Array) -> float:
        return float(np.mean(np.log1p(np.exp(-X @ coefficients))))

    assert log_loss(online) - log_loss(batch.coef_[0]) < 0.004


@every_learner
def test_a_label_for_the_second_side_is_the_pair_turned_round(learner: LearnerName) -> None:
    first, second = new(learner), new(learner)
    for x in rows(differences(50, np.array([0.5, -0.3]), seed=2)):
        first.learn_one(x, True)
        second.learn_one({name: -value for name, value in x.items()}, False)
    assert saved(first) == saved(second)


@every_learner
def test_before_any_pair_critics_are_taken_to_be_right(learner: LearnerName) -> None:
    assert new(learner).predict_proba_one({"a": 0.4, "b": -0.1})[True] > 0.5
    assert new(learner).predict_proba_one({})[True] == 0.5


@every_learner
def test_a_critic_that_vanishes_does_not_change_what_is_known_of_the_rest(learner: LearnerName) -> None:
    X = differences(3000, np.array([0.8, 0.4, -0.5]), seed=3)
    with_it, rest = new(learner), new(learner)
    for x in rows(X[:1500]):
        with_it.learn_one(x, True)
    X[1500:, 2] = math.nan
    for x in rows(X[1500:]):
        with_it.learn_one(x, True)
        rest.learn_one(x, True)
    assert with_it.weights["c00"] == pytest.approx(0.8, abs=0.12)
    assert with_it.weights["c01"] == pytest.approx(0.4, abs=0.12)
    assert "c02" not in rest.weights


@every_learner
def test_a_critic_that_appears_later_is_learnt_from_then_on(learner: LearnerName) -> None:
    X = differences(3000, np.array([0.5, 0.9]), seed=4)
    X[:1000, 1] = math.nan
    model = new(learner)
    for x in rows(X):
        model.learn_one(x, True)
    assert model.weights["c01"] == pytest.approx(0.9, abs=0.2)


@every_learner
def test_scores_of_any_size_can_be_learnt(learner: LearnerName) -> None:
    """Critics of other projects count in percent, or without bound."""
    X = differences(3000, np.array([0.6, -0.6]), seed=6) * np.array([100.0, 1.0])
    model = new(learner)
    for x in rows(X):
        model.learn_one(x, True)
    effect = {name: model.weights[name] / model.scales[name] for name in model.weights}
    assert effect["c00"] * 100.0 * UNIT == pytest.approx(0.6, abs=0.15)


@every_learner
def test_the_unit_of_a_critic_is_settled_by_its_first_20_pairs(learner: LearnerName) -> None:
    model = new(learner).with_features("ab")
    model.learn_many_differences(np.array([[0.1, 0.1]] * 18 + [[1.2, 1.9], [1.9, math.nan]]), np.ones(20))
    assert model.scales == {"a": pytest.approx(1.25 * 1.2 * UNIT), "b": UNIT}
    model.learn_many_differences(np.array([[9.0, 9.0]]), np.ones(1))
    assert model.scales == {"a": pytest.approx(1.25 * 1.2 * UNIT), "b": 2 * UNIT}


@every_learner
def test_a_unit_at_most_doubles_with_a_pair_and_again_knows_which_were_not_learnt(
    learner: LearnerName,
) -> None:
    model = new(learner).with_features("a")
    scales, far = [], []
    for difference in (-400.0, 5.0, 5.0, 5.0, 0.1):
        model.learn_many_differences(np.array([[difference]]), np.ones(1))
        scales.append(model.scales["a"])
        far.append(model.far_off.get("a", 0))
    assert scales == [UNIT, 2 * UNIT, 4 * UNIT, 1.25 * 5 * UNIT, 1.25 * 5 * UNIT]
    assert far == [1, 2, 1, 1, 1]


@every_learner
def test_a_learner_that_begins_from_another_knows_its_largest_differences(learner: LearnerName) -> None:
    model = new(learner).with_features("a")
    model.learn_many_differences(np.array([[9.0]]), np.ones(1))
    begun = model.begun_from()
    begun.learn_many_differences(np.array([[5.0]]), np.ones(1))
    assert begun.scales == {"a": 2 * UNIT}


@every_learner
def test_a_single_difference_sets_no_unit(learner: LearnerName) -> None:
    model = new(learner).with_features("a")
    model.learn_many_differences(np.array([[0.1], [-999.0], *[[0.1]] * 18]), np.ones(20))
    assert model.scales == {"a": UNIT}


@every_learner
def test_a_weight_of_nothing_teaches_nothing(learner: LearnerName) -> None:
    model = new(learner)
    model.learn_one({"a": 0.5}, True)
    before = model.weights
    model.learn_one({"a": 0.5}, False, 0.0)
    assert model.weights == before


def test_an_unknown_learner_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no learner is called 'oracle'; expected river-logistic or laplace"):
        Recipe(learner="oracle")  # type: ignore[arg-type]


@every_learner
def test_arrays_give_the_bits_of_dicts(learner: LearnerName) -> None:
    """With scores missing, weights of 0, a critic that needs a larger unit, and drift."""
    before, after = np.linspace(-1.5, 1.5, 5), np.linspace(1.5, -1.5, 5)
    X = np.concatenate([differences(3000, before, seed=7), differences(3000, after, seed=8)])
    rng = np.random.default_rng(9)
    X[rng.random(X.shape) < 0.1] = math.nan
    X[:, 4] *= 50.0
    w = np.where(rng.random(len(X)) < 0.1, 0.0, rng.uniform(0.2, 1.0, len(X)))
    names = [f"c{j:02d}" for j in range(5)]
    by_dict, by_array, in_parts = (new(learner).with_features(names) for _ in range(3))
    by_array.learn_many_differences(X, w)
    for start in range(0, len(X), 37):
        in_parts.learn_many_differences(X[start : start + 37], w[start : start + 37])
    for x, weight in zip(rows(X), w, strict=True):
        by_dict.learn_one(x, True, float(weight))
    assert by_array.scales["c04"] > UNIT
    assert (by_array.alarms > 0) == (learner == "laplace")
    assert saved(by_dict) == saved(by_array) == saved(in_parts)


@pytest.mark.parametrize("logit", [-400.0, -19.0, 19.0, 29.0, 400.0])
def test_arrays_give_the_bits_of_dicts_where_rivers_gradient_is_that_of_a_tail(logit: float) -> None:
    by_dict, by_array = (
        RiverLogistic(prior_mean=abs(logit) / 4.0, prior_precision=1e-3).with_features("a") for _ in range(2)
    )
    difference = math.copysign(4.0 * UNIT, logit)
    p = by_array.learn_many_differences(np.array([[difference]]), np.ones(1))
    assert p == by_dict.predict_proba_one({"a": difference})[True]
    by_dict.learn_one({"a": difference}, True)
    assert saved(by_dict) == saved(by_array)


@every_learner
def test_a_feature_that_comes_later_is_the_same_to_arrays_and_to_dicts(learner: LearnerName) -> None:
    X = differences(400, np.array([0.5, -0.3, 0.8]), seed=19)
    X[:200, 2] = math.nan
    by_dict, by_array = new(learner), new(learner).with_features(["c00", "c01"])
    by_array.learn_many_differences(X[:200, :2], np.ones(200))
    by_array.with_features(["c02"]).learn_many_differences(X[200:], np.ones(200))
    for x in rows(X):
        by_dict.learn_one(x, True)
    assert by_array.features == ("c00", "c01", "c02")
    assert saved(by_dict) == saved(by_array)


@pytest.mark.parametrize("recipe", [Recipe(learner="river-logistic"), Recipe(parameters={"sparsity": 0.0})])
def test_the_array_gives_what_was_predicted_before_each_row_was_learnt(recipe: Recipe) -> None:
    X = differences(200, np.array([0.5, -0.3]), seed=11)
    model, one_by_one = (recipe.new().with_features(["c00", "c01"]) for _ in range(2))
    p = model.learn_many_differences(X, np.ones(len(X)))
    for x, expected in zip(rows(X), p, strict=True):
        assert one_by_one.predict_proba_one(x)[True] == pytest.approx(expected, abs=1e-12)
        one_by_one.learn_one(x, True)


@every_learner
def test_another_number_of_columns_is_refused(learner: LearnerName) -> None:
    with pytest.raises(ValueError, match="X has 3 columns; expected 2, one per feature"):
        new(learner).with_features("ab").learn_many_differences(np.zeros((1, 3)), np.ones(1))


def test_a_newton_step_is_that_of_the_formula() -> None:
    """With A as a sum and its inverse by elimination; the third feature comes later."""
    rng = np.random.default_rng(20)
    X, w = rng.normal(0, UNIT, (60, 3)), rng.uniform(0.01, 1.0, 60)
    X[:20, 2] = 0.0
    model = RiverLogistic(lr=0.9, prior_precision=4.0, prior_mean=0.1).with_features("ab")
    model.learn_many_differences(X[:20, :2], w[:20])
    model.with_features("c").learn_many_differences(X[20:], w[20:])
    theta, A = np.full(3, 0.1), 4.0 * np.eye(3)
    for z, weight in zip(X / UNIT, w, strict=True):
        g = -z / (1 + np.exp(theta @ z))
        A += weight * np.outer(g, g)
        theta = theta - 0.9 * weight * np.linalg.solve(A, g)
    assert list(model.weights.values()) == pytest.approx(list(theta), rel=1e-10)
    assert np.array(saved(model)["inverse"]) == pytest.approx(np.linalg.inv(A), rel=1e-10)


def test_to_river_logistic_a_pair_that_counts_nothing_was_never_there() -> None:
    model = RiverLogistic().with_features("ab")
    model.learn_one({"a": 0.5, "b": 0.1}, True)
    before = saved(model)
    model.learn_one({"a": 90.0, "c": 1.0}, False, 0.0)
    model.learn_many_differences(np.array([[90.0, 0.2]]), np.zeros(1))
    assert saved(model) == before


def test_the_inverse_stays_symmetric_to_the_bit_and_positive() -> None:
    model = RiverLogistic().with_features([f"c{j}" for j in range(6)])
    model.learn_many_differences(differences(20_000, np.linspace(-1, 1, 6), seed=13), np.ones(20_000))
    inverse = np.array(saved(model)["inverse"])
    assert (inverse == inverse.T).all()
    assert np.linalg.eigvalsh(inverse).min() > 0


def test_a_laplace_step_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(12)
    X, w = rng.normal(0, UNIT, (40, 3)), rng.uniform(0.2, 1.0, 40)
    model = Laplace(forgetting=0.01, drift_delta=0.0, sparsity=0.0).with_features("abc")
    model.learn_many_differences(X, w)
    m, S = np.full(3, 0.16), 0.06 * np.eye(3)
    for d, weight in zip(X / UNIT, w, strict=True):
        v = d @ S @ d
        kappa = 1 / np.sqrt(1 + np.pi * v / 8)
        p = 1 / (1 + np.exp(-kappa * (m @ d)))
        r = weight * kappa * p * (1 - p)
        m, S = (
            m + weight * (1 - p) * (S @ d) / (1 + r * v),
            S - r * np.outer(S @ d, S @ d) / (1 + r * v),
        )
        keep = 0.99**weight
        m, S = 0.16 + keep * (m - 0.16), keep**2 * S + (1 - keep**2) * 0.06 * np.eye(3)
    assert list(model.weights.values()) == pytest.approx(list(m), rel=1e-12)
    assert np.array(model.covariance) == pytest.approx(S, rel=1e-12)


def test_the_covariance_stays_symmetric_to_the_bit_and_positive() -> None:
    model = Laplace().with_features([f"c{j}" for j in range(6)])
    model.learn_many_differences(differences(20_000, np.linspace(-1, 1, 6), seed=13), np.ones(20_000))
    cov = np.array(model.covariance)
    assert (cov == cov.T).all()
    assert np.linalg.eigvalsh(cov).min() > 0


def test_without_drift_there_is_no_alarm_in_100000_pairs() -> None:
    model = Laplace().with_features([f"c{j}" for j in range(6)])
    model.learn_many_differences(differences(100_000, np.linspace(-0.5, 0.9, 6), seed=14), np.ones(100_000))
    assert model.alarms == 0


def test_that_predictions_get_better_is_no_alarm() -> None:
    X = np.abs(differences(6000, np.array([0.5]), seed=18))
    model = Laplace().with_features(["a"])
    p = model.learn_many_differences(X, np.ones(len(X)))
    assert p[-100:].mean() > p[:100].mean() + 0.2
    assert model.alarms == 0


def test_an_alarm_makes_it_uncertain_again_and_keeps_its_mean() -> None:
    stream = np.concatenate([
        differences(4000, np.array([1.2, 0.8]), seed=15), differences(2000, np.array([-1.2, 0.8]), seed=16)
    ])  # fmt: skip
    model = Laplace().with_features(["a", "b"])
    seen = 0
    while model.alarms == 0:
        before = saved(model)["mean"][1]
        model.learn_many_differences(stream[seen : seen + 1], np.ones(1))
        seen += 1
    assert 4000 < seen < 5000
    assert np.array(model.covariance) == pytest.approx(0.06 * np.eye(2))
    assert model.weights["b"] == pytest.approx(before, abs=0.02)


def test_the_detectors_memory_is_bounded_and_survives_a_restart_to_the_bit() -> None:
    X = differences(20_000, np.array([0.4]), seed=17)
    whole, half = (Laplace().with_features(["a"]) for _ in range(2))
    whole.learn_many_differences(X, np.ones(len(X)))
    half.learn_many_differences(X[:11_003], np.ones(11_003))
    again = Laplace.from_state(saved(half))
    again.learn_many_differences(X[11_003:], np.ones(len(X) - 11_003))
    assert saved(again) == saved(whole)
    assert 512 <= len(saved(whole)["observed"]) < 1024
