"""What a reward model has learnt, in odds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec.structs import replace

from tests import factories
from tests.runner.fakes import snapshot
from trainers.bradley_terry.estimators import Recipe
from trainers.bradley_terry.explain import explain, ratio_text
from trainers.bradley_terry.reward import prob_prefer
from trainers.online.train import train_on_pairs

PAIRS = [
    factories.pair({"a": 0.9, "b": 0.2 + n % 3 / 10}, {"a": 0.4, "b": 0.3}, task_id=f"task-{n}")
    for n in range(60)
]


def test_the_odds_are_those_of_the_reward() -> None:
    learnt = train_on_pairs(PAIRS, recipe=Recipe(learner="laplace"))
    for effect in explain(learnt, step=0.3).effects:
        p = prob_prefer(learnt, {effect.feature: 0.3})
        assert effect.odds_ratio == pytest.approx(p / (1 - p))


def test_the_interval_is_of_the_posterior_in_the_units_of_the_score() -> None:
    given = replace(snapshot({"a": 1.0}), scales={"a": 0.5}, covariance=((0.09,),))
    (effect,) = explain(given, step=0.25).effects
    low, high = math.exp(0.5 * (1.0 - 1.96 * 0.3)), math.exp(0.5 * (1.0 + 1.96 * 0.3))
    assert effect.odds_ratio_ci95 == pytest.approx((low, high), rel=1e-4)
    assert effect.weight_ci95 == pytest.approx((1.0 - 1.96 * 0.3, 1.0 + 1.96 * 0.3), rel=1e-4)
    assert effect.is_sure


def test_a_weight_s_interval_is_its_own_also_where_its_odds_are_beside_the_average_of_its_kind() -> None:
    given = replace(snapshot({"@arm=a": 1.0, "@arm=b": 0.0}), covariance=((0.09, 0.0), (0.0, 0.04)))
    of_a = next(effect for effect in explain(given).effects if effect.feature == "@arm=a")
    assert of_a.weight_ci95 == pytest.approx((1.0 - 1.96 * 0.3, 1.0 + 1.96 * 0.3), rel=1e-4)


def test_an_interval_on_both_sides_of_1_is_not_sure() -> None:
    given = replace(snapshot({"a": 0.1}), covariance=((1.0,),))
    assert not explain(given).effects[0].is_sure


def test_ties_are_explained_by_what_equals_get() -> None:
    assert explain(replace(snapshot({"a": 1.0}), tie_nu=2.0)).ties_of_equals == 0.5
    assert explain(snapshot({"a": 1.0})).ties_of_equals == 0.0


def test_more_pairs_make_the_interval_narrower() -> None:
    def width(n: int) -> float:
        effects = explain(train_on_pairs(PAIRS[:n], recipe=Recipe(learner="laplace"))).effects
        interval = next(effect for effect in effects if effect.feature == "a").odds_ratio_ci95
        assert interval is not None
        return math.log(interval[1] / interval[0])

    assert width(60) < width(5)


def test_a_point_estimate_has_no_interval() -> None:
    explanation = explain(train_on_pairs(PAIRS, recipe=Recipe(learner="river-logistic")))
    assert not explanation.has_intervals
    assert all(effect.odds_ratio_ci95 is None for effect in explanation.effects)
    assert all(effect.weight_ci95 is None for effect in explanation.effects)


def test_the_strongest_comes_first_in_either_direction() -> None:
    effects = explain(snapshot({"weak": 0.1, "against": -2.0, "strong": 1.0})).effects
    assert [effect.feature for effect in effects] == ["against", "strong", "weak"]


def test_the_strongest_is_so_per_score_and_not_per_scale() -> None:
    given = replace(snapshot({"wide": 2.0, "narrow": 1.0}), scales={"wide": 10.0, "narrow": 0.25})
    assert [effect.feature for effect in explain(given).effects] == ["narrow", "wide"]


def test_the_evidence_and_the_statement_are_the_snapshots() -> None:
    learnt = train_on_pairs(PAIRS)
    explanation = explain(learnt)
    assert explanation.statement == learnt.statement
    assert explanation.evidence["tasks"] == 60
    assert explanation.trusted == learnt.metrics["trusted"]


def test_a_weight_beyond_all_bounds_is_still_a_number() -> None:
    assert math.isfinite(explain(snapshot({"a": 1e9})).effects[0].odds_ratio)


def test_ratios_that_are_far_from_1_are_powers_of_ten() -> None:
    assert [ratio_text(ratio) for ratio in (1.234, 0.0001, 12345.0)] == ["1.23", "1.0e-04", "1.2e+04"]


def test_a_context_counts_by_being_of_it_and_a_critic_by_its_step() -> None:
    model = replace(snapshot({"a": 1.0, "@arm=task": 1.0}), scales={"a": 0.25, "@arm=task": 0.5})
    odds = {effect.feature: effect.odds_ratio for effect in explain(model, step=0.1).effects}
    assert odds == pytest.approx({"a": math.exp(0.4), "@arm=task": math.exp(2.0)})


def test_an_arm_is_compared_with_the_mean_of_all_arms_whose_own_worth_nobody_knows() -> None:
    rng = np.random.default_rng(3)
    pairs = []
    for n in range(2000):
        arms = rng.permutation(["task", "physics", "quality"])[:2]
        if "task" in arms and rng.random() < 0.8:
            arms = np.sort(arms)[::-1]
        one = factories.pair({}, {}, task_id=f"t{n}")
        pairs.append(
            replace(one, chosen_context={"arm": str(arms[0])}, rejected_context={"arm": str(arms[1])})
        )
    pairs.append(factories.pair({"a": 0.5}, {"a": 0.5}, task_id="with a critic"))
    effects = {e.feature: e for e in explain(train_on_pairs(pairs)).effects}
    arms_alone = [effects[f"@arm={name}"] for name in ("task", "physics", "quality")]
    assert math.prod(e.odds_ratio for e in arms_alone) == pytest.approx(1.0)
    assert effects["@arm=task"].is_sure
