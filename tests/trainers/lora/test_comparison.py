"""No more is claimed than the intervals show."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainers.lora.tiny import good_over_bad, pair
from trainers.lora.baselines import CHANCE, LENGTH, TFIDF, baselines
from trainers.lora.comparison import Difference, differences
from trainers.lora.texts import select, split_by_task

UP, DOWN, OPEN = (0.01, 0.09), (-0.09, -0.01), (-0.02, 0.02)


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "says"),
    [
        (UP, DOWN, "LoRA is shown to be better than X in accuracy and log loss: "),
        (UP, OPEN, "LoRA is shown to be better than X in accuracy, not in log loss: "),
        (OPEN, DOWN, "LoRA is shown to be better than X in log loss, not in accuracy: "),
        (OPEN, OPEN, "LoRA is not shown to be better than X, nor worse: "),
        (DOWN, OPEN, "LoRA is shown to be worse than X in accuracy: "),
        (DOWN, UP, "LoRA is shown to be worse than X in accuracy and log loss: "),
        (UP, UP, "LoRA is shown to be better than X in accuracy and worse in log loss: "),
    ],
)
def test_the_sentence_is_what_the_intervals_show(
    accuracy: tuple[float, float], log_loss: tuple[float, float], says: str
) -> None:
    difference = Difference(float(np.mean(accuracy)), accuracy, float(np.mean(log_loss)), log_loss, 20)
    assert difference.statement("LoRA", "X").startswith(says)


def test_an_interval_that_ends_at_zero_shows_nothing() -> None:
    difference = Difference(0.05, (0.0, 0.1), -0.05, (-0.1, 0.0), 20)
    assert difference.statement("LoRA", "X").startswith("LoRA is not shown to be better than X, nor worse")


def test_nothing_is_shown_on_few_tasks() -> None:
    difference = Difference(0.5, (0.5, 0.5), -0.3, (-0.3, -0.3), 19)
    assert "is not shown to be better than X, nor worse, as 19 held-out tasks are too few" in (
        difference.statement("LoRA", "X")
    )


def test_the_bootstrap_is_over_tasks_and_not_over_pairs() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(40) < 0.6
    per_pair = np.where(right, 0.7, 0.3)
    each = [f"t{at}" for at in range(40)]
    alone = differences({"a": per_pair, "b": np.full(40, 0.5)}, "a", each)["b"]
    repeated = differences(
        {"a": np.repeat(per_pair, 10), "b": np.full(400, 0.5)},
        "a",
        [task for task in each for _ in range(10)],
    )["b"]
    assert repeated.accuracy == pytest.approx(alone.accuracy)
    assert repeated.accuracy_ci95 == pytest.approx(alone.accuracy_ci95)


def test_a_constant_difference_has_an_interval_without_width() -> None:
    p = np.array([0.9, 0.8, 0.7])
    found = differences({"a": p, "b": 1.0 - p}, "a", ["x", "y", "z"])["b"]
    assert found.accuracy_ci95 == (1.0, 1.0)
    assert found.log_loss == pytest.approx(np.mean(np.log(1.0 - p) - np.log(p)))


def test_character_ngrams_learn_a_word() -> None:
    train, held_out = split_by_task(select(good_over_bad(64)).pairs, 0.25, seed=0)
    p = baselines(train, held_out)
    assert (p[TFIDF] > 0.5).all()
    assert set(p[CHANCE]) == {0.5}


def test_length_learns_that_the_longer_text_is_preferred() -> None:
    pairs = [pair(f"t{at}", "good " * (at + 9), "bad", weight=1.0) for at in range(20)]
    train, held_out = split_by_task(select(pairs).pairs, 0.25, seed=0)
    assert (baselines(train, held_out)[LENGTH] > 0.5).all()


def test_a_pair_without_weight_teaches_the_baselines_nothing() -> None:
    pairs = [pair(f"t{at}", "good", "bad") for at in range(8)]
    wrong = [pair(f"w{at}", "bad", "good", weight=0.0) for at in range(80)]
    train = select([*pairs, *wrong]).pairs
    assert (baselines(train, train[:8])[TFIDF] > 0.5).all()
