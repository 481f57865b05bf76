from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from trainers.bradley_terry import BradleyTerry, LinearReward, Recipe, difference, sigmoid

unit = st.floats(0, 1)
scores = st.dictionaries(st.sampled_from(["a.x", "b.y", "c.z"]), st.none() | unit)
sides = st.lists(st.tuples(scores, scores), max_size=15)


def learnt(pairs: list[tuple[dict[str, float | None], dict[str, float | None]]]) -> BradleyTerry:
    model = BradleyTerry()
    for chosen, rejected in pairs:
        model.learn_pair(chosen, rejected)
    return model


@given(sides, scores, scores)
def test_the_two_sides_sum_to_one(
    pairs: list[tuple[dict[str, float | None], dict[str, float | None]]],
    a: dict[str, float | None],
    b: dict[str, float | None],
) -> None:
    reward = learnt(pairs).frozen()
    assert reward.prob_prefer(a, b) + reward.prob_prefer(b, a) == pytest.approx(1.0)


@given(sides, sides)
def test_a_restored_model_goes_on_to_the_bit(
    before: list[tuple[dict[str, float | None], dict[str, float | None]]],
    after: list[tuple[dict[str, float | None], dict[str, float | None]]],
) -> None:
    whole = learnt(before + after)
    restored = BradleyTerry.from_state(learnt(before).state())
    for chosen, rejected in after:
        restored.learn_pair(chosen, rejected)
    assert restored.state() == whole.state()


def test_a_step_is_the_gradient_step_of_the_formula() -> None:
    model = BradleyTerry(Recipe(lr=0.1, power=0.5))
    weights = np.zeros(2)
    squares, rng = np.zeros(2), np.random.default_rng(3)
    for step in range(1, 40):
        d = rng.uniform(-1, 1, 2)
        model.learn_pair({"a.x": d[0], "b.y": d[1]}, {"a.x": 0.0, "b.y": 0.0}, weight=0.7)
        squares += d * d
        x = d / np.sqrt((squares + 10 * 0.25**2) / (step + 10))
        p = 1 / (1 + np.exp(-weights @ x))
        weights += 0.1 / math.sqrt(1 + 0.7 * (step - 1)) * 0.7 * (1 - p) * x
    assert list(model.weights.values()) == pytest.approx(list(weights))


def test_one_pass_comes_within_four_thousandths_of_the_batch_optimum_in_log_loss() -> None:
    rng = np.random.default_rng(5)
    truth = np.array([2.0, -1.0, 0.0])
    d = rng.normal(0, 0.5, (4000, 3))
    d *= np.where(rng.random(4000) < 1 / (1 + np.exp(-d @ truth)), 1, -1)[:, None]
    model = BradleyTerry()
    for row in d:
        model.learn_pair(dict(zip("abc", row, strict=True)), dict.fromkeys("abc", 0.0))
    batch = LogisticRegression(fit_intercept=False).fit(np.vstack([d, -d]), [1] * len(d) + [0] * len(d))
    online = np.array([model.frozen().coefficients[name] for name in "abc"])

    def log_loss(coefficients: np.ndarray) -> float:
        return float(np.mean(np.log1p(np.exp(-d @ coefficients))))

    assert log_loss(online) - log_loss(batch.coef_[0]) < 0.004


def test_a_missing_critic_contributes_nothing() -> None:
    reward = LinearReward({"a.x": 3.0, "b.y": 1.0})
    only_b = reward.prob_prefer({"b.y": 0.8}, {"b.y": 0.3})
    assert reward.prob_prefer({"a.x": 0.9, "b.y": 0.8}, {"a.x": None, "b.y": 0.3}) == only_b
    assert difference({"a.x": 0.9}, {"a.x": None}) == {}


def test_a_critic_that_appears_later_is_learnt_from_then_on() -> None:
    model = learnt([({"a.x": 1.0}, {"a.x": 0.0})])
    model.learn_pair({"a.x": 0.5, "b.y": 1.0}, {"a.x": 0.5, "b.y": 0.0})
    assert model.weights["b.y"] > 0


def test_the_tails_of_the_sigmoid_do_not_overflow() -> None:
    assert (sigmoid(-1e4), sigmoid(1e4)) == (0.0, 1.0)
