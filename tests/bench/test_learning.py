"""The benchmark of the learners on little data: it runs, and says what it measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streams.messages.contracts import PreferencePair
from tests.bench import learning
from trainers.bradley_terry.reward import critics_mean


def test_ties_are_dropped_and_tasks_are_kept_apart(folder: Path) -> None:
    pairs = learning.preferences(folder, "small")
    known, held_out = learning.split(pairs, seed=0)
    assert len(pairs) == 40 * 5
    assert {p.task_id for p in known}.isdisjoint(p.task_id for p in held_out)
    assert len(held_out) == 10 * 5


def test_each_learner_is_set_against_the_batch_optimum(folder: Path) -> None:
    *rows, _, _ = learning.against_batch(folder)
    assert [row.split(" | ")[1] for row in rows[2:4]] == ["river-logistic", "laplace"]
    assert all(abs(float(row.split(" | ")[2])) < 0.2 for row in rows[2:4])


def test_three_answers_are_measured_with_the_ties(folder: Path) -> None:
    row = list(learning.three_answers(folder))[-1].split(" | ")
    assert row[1] == "17%"
    assert all(0.2 < float(loss.rstrip(" |")) < 1.1 for loss in row[2:])


def test_what_is_known_beside_the_critics_has_a_row_each(folder: Path) -> None:
    rows = list(learning.contexts(folder))[2:]
    kinds = [row.split(" | ")[1] for row in rows]
    assert kinds == ["nothing", "the domain of the task", "who made each side"]


def test_the_ratio_of_the_uncertainties_is_of_the_order_of_one(folder: Path) -> None:
    *_, row = learning.honest_uncertainty(folder)
    assert 0.3 < float(row.split("|")[3]) < 4.0


def test_streams_turn_over_in_the_middle_or_all_along() -> None:
    for kind in ("none", "abrupt", "gradual"):
        X, truth = learning.drifting(kind, seed=0)
        assert ((truth > 0) & (truth < 1)).all()
        first, last = ((part[:5000] * 1.0).mean(axis=0) for part in (X, X[::-1]))
        same = np.corrcoef(first, last)[0, 1] > 0.9
        assert same == (kind == "none")


def test_a_null_run_has_labels_that_no_model_can_know_better_than_the_mean() -> None:
    pairs = [m for m in learning.null_tasks(seed=1, noise=False) if isinstance(m, PreferencePair)]
    means = [critics_mean(p.chosen_critics) > critics_mean(p.rejected_critics) for p in pairs]
    assert 0.6 < np.mean(means) < 0.9


def test_every_learner_has_its_rows_of_drift_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "_STREAM", 2_000)
    monkeypatch.setattr(learning, "_SEEDS", 2)
    monkeypatch.setattr(learning, "_SPEED_PAIRS", 5_000)
    drift, speed = (list(rows())[2:] for rows in (learning.drift, learning.speed))
    assert [row.split(" | ")[1] for row in drift] == ["river-logistic", "laplace"] * 3
    assert all(0 < float(row.split(" | ")[2]) < 0.2 for row in drift)
    assert [row.split(" | ")[0][2:] for row in speed] == [
        f"{learner}, {kind}" for kind in ("arrays", "dicts") for learner in ("river-logistic", "laplace")
    ]
