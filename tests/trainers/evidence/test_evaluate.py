"""Measuring learners on pairs that they have not seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.codec import decode_snapshot, encode
from streams.messages.contracts import PreferencePair
from tests.factories import pair
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, Recipe
from trainers.evidence.evaluate import (
    COMPARED,
    figures,
    measure,
    measure_snapshot,
    reliability,
    tables,
    task_numbers,
)
from trainers.online.train import train_on_pairs

NAMES = ("a.x", "b.y", "c.z")


def tasks(n: int, seed: int, prefix: str = "t") -> list[PreferencePair]:
    """People prefer a.x, on its scale of 0 to 100; b.y misleads, c.z is noise that is often missing."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(n):
        for _ in range(4):
            sides = rng.uniform(0, 1, (2, 3))
            logit = 5 * (sides[0, 0] - sides[1, 0]) - 2 * (sides[0, 1] - sides[1, 1])
            first = int(rng.random() >= 1 / (1 + math.exp(-logit)))
            missing = rng.random() < 0.3
            chosen, rejected = (
                {"a.x": 100 * float(a), "b.y": float(b), "c.z": None if missing else float(c)}
                for a, b, c in (sides[first], sides[1 - first])
            )
            pairs.append(pair(chosen, rejected, task_id=f"{prefix}{number}"))
    return pairs


TRAIN, HOLDOUT = tables(tasks(300, seed=1), tasks(200, seed=2, prefix="h"))


def of(name: str, orders: int = 2) -> dict[str, Any]:
    (*_, last) = measure(name, TRAIN, HOLDOUT, orders=orders)
    return figures(last, HOLDOUT.tasks)


@pytest.mark.parametrize(("learner", "within"), [("laplace", 0.004), ("river-logistic", 0.01)])
def test_a_learner_comes_close_to_the_batch_optimum_and_beats_the_critics(
    learner: str, within: float
) -> None:
    batch, mean, single = (of(name)["log_loss"] for name in ("batch", "critics-mean", "best-single"))
    assert of(learner)["log_loss"] < batch + within
    assert batch < single < mean < math.log(2)


def made_by(pairs: list[PreferencePair], seed: int) -> list[PreferencePair]:
    """Whatever the critics say, people mostly prefer what generator g made."""
    rng = np.random.default_rng(seed)
    names = [("g", "h") if rng.random() < 0.9 else ("h", "g") for _ in pairs]
    return [
        replace(one, chosen_context={"generator": a}, rejected_context={"generator": b})
        for one, (a, b) in zip(pairs, names, strict=True)
    ]


@pytest.mark.parametrize("name", [*LEARNERS, "batch"])
def test_who_made_the_candidates_is_learnt_and_critics_alone_know_nothing_of_it(name: str) -> None:
    parts = tables(made_by(tasks(300, seed=1), 3), made_by(tasks(200, seed=2, prefix="h"), 4))

    def log_loss(name: str) -> float:
        (*_, last) = measure(name, *parts, orders=1)
        return float(figures(last, parts[1].tasks)["log_loss"])

    assert log_loss(name) < of(name, orders=1)["log_loss"] - 0.15
    assert log_loss("best-single") == of("best-single")["log_loss"]


def test_the_order_of_the_tasks_changes_little_and_is_reported() -> None:
    assert 0 < of("laplace", orders=4)["log_loss_sd_over_orders"] < 0.001
    assert of("batch")["log_loss_sd_over_orders"] == 0.0


def test_after_a_hundred_pairs_it_is_worse_than_in_the_end() -> None:
    laplace = of("laplace")
    assert laplace["log_loss"] < laplace["log_loss_after_100"] < math.log(2)
    assert of("batch")["log_loss_after_100"] is None


def test_the_same_seed_gives_the_same_figures() -> None:
    assert of("laplace") == of("laplace")


@pytest.mark.parametrize("name", COMPARED)
def test_every_figure_is_within_its_interval(name: str) -> None:
    result = of(name)
    for figure in ("accuracy", "log_loss", "ece"):
        low, high = result[f"{figure}_ci95"]
        assert low < high
        if figure != "ece":  # whose resamples are biased upwards
            assert low <= result[figure] <= high


def test_predictions_of_arrays_are_those_of_dicts() -> None:
    learner: LearnerName
    for learner in LEARNERS:
        estimator = Recipe(learner=learner).new()
        known = [{n: float(x) for n, x in zip(NAMES, row, strict=True) if x == x} for row in TRAIN.X[:300]]
        for x in known:
            estimator.learn_one(x, True)
        one_by_one = [estimator.predict_proba_one(x)[True] for x in known]
        assert estimator.predict_many_differences(TRAIN.features, TRAIN.X[:300]) == pytest.approx(
            one_by_one, abs=1e-12
        )


def test_a_finished_model_is_measured_on_scores_as_they_are() -> None:
    unit = [
        pair({"a.x": (p.chosen_critics["a.x"] or 0) / 100}, {"a.x": (p.rejected_critics["a.x"] or 0) / 100},
             task_id=p.task_id)
        for p in tasks(200, seed=3)
    ]  # fmt: skip
    model = decode_snapshot(encode(train_on_pairs(unit)), "test")
    result = figures(measure_snapshot(model, unit), task_numbers(unit))
    assert 0.4 < result["log_loss"] < 0.65
    assert result["log_loss_after_100"] is None


def test_a_calibrated_model_is_right_as_often_as_it_is_confident() -> None:
    (*_, last) = measure("batch", TRAIN, HOLDOUT, orders=1)
    bins = reliability(last)
    assert sum(n for *_, n in bins) == len(HOLDOUT.X)
    assert all(abs(right - confidence) < 0.2 for confidence, right, n in bins if n > 50)


def test_files_without_a_common_critic_are_bad_input() -> None:
    with pytest.raises(BadInput, match="no critic has scores in both files"):
        tables([pair({"a.x": 1.0}, {"a.x": 0.0})], [pair({"b.y": 1.0}, {"b.y": 0.0})])
