"""Labels that find neither side better are learnt and predicted, as Davidson has it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair, RewardSnapshot
from tests.bench.learning import preferences, split
from tests.factories import pair
from tests.states import read_back
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, PairEstimator, Recipe
from trainers.bradley_terry.ties import step_with_ties, tie_probability
from trainers.compiled import Array, Flags
from trainers.evidence.evaluate import COMPARED, figures, measure, measure_snapshot, tables, ties_of
from trainers.online.learner import OnlineLearner
from trainers.online.train import train_on_pairs
from trainers.text.learner import TextLearner

every_learner = pytest.mark.parametrize("learner", LEARNERS)
WEIGHTS = np.array([1.5, -0.5])
UNIT = 0.25


def log_probability(logit: float, nu: float, tie: bool) -> float:
    weights = math.exp(logit / 2), math.exp(-logit / 2), nu
    return math.log((weights[2] if tie else weights[0]) / sum(weights))


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("logit", [-3.0, 0.0, 0.4, 7.0])
def test_a_step_has_the_derivatives_of_davidsons_log_probability(logit: float, tie: bool) -> None:
    nu, h = 1.3, 1e-4
    below, here, above = (log_probability(logit + shift, nu, tie) for shift in (-h, 0.0, h))
    step = step_with_ties(logit, nu, tie)
    assert step.gradient == pytest.approx((above - below) / (2 * h), abs=1e-6)
    assert step.information == pytest.approx(-(above - 2 * here + below) / h**2, abs=1e-4)


def test_a_tie_is_likeliest_between_equals() -> None:
    assert tie_probability(0.0, 2.0) == 0.5
    assert tie_probability(3.0, 2.0) == tie_probability(-3.0, 2.0) < 0.5
    assert tie_probability(1e9, 2.0) == 0.0


def labelled(n: int, seed: int, nu: float) -> tuple[Array, Flags]:
    """Differences in favour of what is preferred, in either direction where it is a tie, and which are."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0, UNIT, (n, len(WEIGHTS)))
    half = X @ WEIGHTS / UNIT / 2
    first, second = np.exp(half), np.exp(-half)
    drawn = rng.random(n) * (first + second + nu)
    ties = drawn < nu
    return np.where((drawn < nu + first)[:, None], X, -X), ties


def learnt(learner: LearnerName, X: Array, ties: Flags, w: float = 1.0) -> PairEstimator:
    model = Recipe(learner=learner).new().with_features(["a.x", "b.y"])
    model.learn_many_differences(X, np.full(len(X), w), ties)
    return model


@pytest.mark.parametrize("nu", [0.1, 1.0, 5.0])
@every_learner
def test_weights_and_how_often_people_tie_are_found(learner: LearnerName, nu: float) -> None:
    model = learnt(learner, *labelled(20_000, seed=1, nu=nu))
    assert model.tie_nu == pytest.approx(nu, rel=0.2)
    assert [*model.weights.values()] == pytest.approx(WEIGHTS, abs=0.15)


@every_learner
def test_ties_say_that_two_candidates_are_alike(learner: LearnerName) -> None:
    X, ties = labelled(400, seed=1, nu=0.0)
    wins, and_ties = np.abs(X[:200]), np.abs(X)
    ties[200:] = True
    assert learnt(learner, and_ties, ties).weights["a.x"] < learnt(learner, wins, ties[:200]).weights["a.x"]


@every_learner
def test_which_side_of_a_tie_is_called_chosen_says_nothing(learner: LearnerName) -> None:
    X, ties = labelled(300, seed=2, nu=1.0)
    turned = np.where(ties[:, None], -X, X)
    assert learnt(learner, X, ties).weights == learnt(learner, turned, ties).weights


@every_learner
def test_without_a_tie_none_is_predicted(learner: LearnerName) -> None:
    model = learnt(learner, *labelled(50, seed=1, nu=0.0))
    assert model.tie_nu == 0.0


@every_learner
def test_people_who_come_to_judge_otherwise_are_followed(learner: LearnerName) -> None:
    (before, tied_before), (after, tied_after) = labelled(10_000, 1, nu=0.1), labelled(4_000, 2, nu=3.0)
    model = learnt(learner, np.vstack([before, after]), np.concatenate([tied_before, tied_after]))
    assert model.tie_nu == pytest.approx(3.0, rel=0.25)


@pytest.mark.parametrize("w", [0.0, 1e-6, 1000.0])
@every_learner
def test_no_weight_leads_out_of_bounds(learner: LearnerName, w: float) -> None:
    X, ties = labelled(50, seed=1, nu=1.0)
    model = learnt(learner, X * 1e6, ties, w)
    assert 0.0 <= model.tie_nu <= 1000.0
    assert np.isfinite([*model.weights.values()]).all()


@every_learner
def test_rows_one_by_one_give_the_same_bits(learner: LearnerName) -> None:
    X, ties = labelled(200, seed=3, nu=1.0)
    one_by_one = Recipe(learner=learner).new()
    for x, tie in zip(X.tolist(), ties.tolist(), strict=True):
        one_by_one.learn_one(dict(zip(["a.x", "b.y"], x, strict=True)), None if tie else True)
    assert repr(one_by_one.state()) == repr(learnt(learner, X, ties).state())


def messages(n: int, seed: int = 0, nu: float = 1.0) -> list[PreferencePair]:
    """Of runs of three pairs each, by a person."""
    X, ties = labelled(n, seed, nu)
    made = []
    for at, ((x, y), tie) in enumerate(zip(X.tolist(), ties.tolist(), strict=True)):
        run = f"run-{at // 3}"
        sides = {"a.x": 0.5 + x / 2, "b.y": 0.5 + y / 2}, {"a.x": 0.5 - x / 2, "b.y": 0.5 - y / 2}
        made.append(replace(pair(*sides, pair_id=str(at), task_id=run, run_id=run), tie=tie))
    return made


@every_learner
def test_the_bits_do_not_depend_on_where_a_stream_is_cut_or_the_learner_restarted(
    learner: LearnerName,
) -> None:
    whole, cut = (OnlineLearner(recipe=Recipe(learner=learner)) for _ in range(2))
    whole.on_messages(messages(300))
    for start in range(0, 300, 7):
        cut.on_messages(messages(300)[start : start + 7])
        if start == 140:
            cut = read_back(cut)
    assert encode(cut.snapshot()) == encode(whole.snapshot())
    assert whole.snapshot().tie_nu > 0.0


def test_ties_are_counted_and_are_no_evidence() -> None:
    pairs = messages(90)
    model = OnlineLearner()
    model.on_messages(pairs)
    metrics, n_ties = model.snapshot().metrics, sum(one.tie for one in pairs)
    assert (metrics["ties"], model.snapshot().labels) == (n_ties, {"human": 90})
    assert metrics["trusted"]["n"] == 90 - n_ties


def test_a_task_of_ties_alone_is_no_bet_of_the_gate() -> None:
    model = train_on_pairs([replace(one, tie=True) for one in messages(9)])
    assert model.metrics["gate"]["tasks"] == 0
    assert model.metrics["trusted"] is None


def test_the_critics_mean_learns_none() -> None:
    pairs = [replace(one, run_id=one.pair_id, task_id=one.pair_id) for one in messages(90)]
    with_ties, without = OnlineLearner(), OnlineLearner()
    with_ties.on_messages(pairs)
    without.on_messages([one for one in pairs if not one.tie])
    states = [model.state()["reference"] for model in (with_ties, without)]
    assert repr(states[0]) == repr(states[1])


def test_a_tie_that_comes_twice_counts_once_and_a_decision_after_it_is_news() -> None:
    sides = {"a.x": 0.9}, {"a.x": 0.1}
    tie = replace(pair(*sides, pair_id="p", task_id="t"), tie=True, meta={"annotator": "ann"})
    model = OnlineLearner()
    model.on_messages([tie, tie, replace(tie, tie=False)])
    assert model.snapshot().labels == {"human": 2}


def test_a_tie_is_agreement_with_nobody() -> None:
    sides = {"a.x": 0.9}, {"a.x": 0.1}
    votes = [
        replace(pair(*sides, pair_id="p", task_id="t"), tie=name == "bob", meta={"annotator": name})
        for name in ("ann", "bob")
    ]
    model = OnlineLearner()
    model.on_messages(votes)
    assert "annotators" not in model.snapshot().metrics


def test_a_text_model_passes_ties_over_and_counts_them() -> None:
    tie = replace(
        pair({}, {}, pair_id="p", task_id="t"), chosen_prompt="one", rejected_prompt="other", tie=True
    )
    model = TextLearner()
    assert not model.on_message(tie)
    assert (model.snapshot().metrics["ties_passed_over"], model.snapshot().labels) == (1, {})


def _three_answers(snapshot: RewardSnapshot, holdout: Sequence[PreferencePair]) -> Any:
    tasks = np.arange(len(holdout))
    return figures(measure_snapshot(snapshot, holdout), tasks, ties_of(holdout))["log_loss_with_ties"]


def test_a_finished_model_predicts_three_answers_as_well_as_the_truth_does() -> None:
    holdout = messages(3000, seed=9)
    truth = [
        log_probability(
            sum(
                weight * ((one.chosen_critics[name] or 0.0) - (one.rejected_critics[name] or 0.0))
                for name, weight in zip(("a.x", "b.y"), WEIGHTS / UNIT, strict=True)
            ),
            1.0,
            one.tie,
        )
        for one in holdout
    ]
    model = train_on_pairs(messages(6000, seed=8))
    assert _three_answers(model, holdout) == pytest.approx(-np.mean(truth), abs=0.01)


def test_a_model_that_has_learnt_no_tie_has_no_figure_for_three_answers() -> None:
    assert _three_answers(train_on_pairs(messages(30, nu=0.0)), messages(30)) is None


def test_a_row_without_a_feature_says_nothing_of_ties() -> None:
    X, ties = labelled(100, seed=1, nu=1.0)
    empty = np.full((50, 2), np.nan)
    for learner in LEARNERS:
        with_empty = learnt(learner, np.vstack([X, empty]), np.concatenate([ties, np.zeros(50, dtype=bool)]))
        assert with_empty.tie_nu == learnt(learner, X, ties).tie_nu


@pytest.mark.parametrize("name", COMPARED)
def test_whatever_is_measured_is_measured_with_ties(name: str) -> None:
    known, unseen = tables(messages(600, seed=1), messages(300, seed=2))
    (*_, last) = measure(name, known, unseen, orders=1)
    found = figures(last, unseen.tasks, unseen.ties)
    assert found["log_loss"] < found["log_loss_with_ties"] < math.log(3)


def test_ties_alone_are_nothing_to_measure() -> None:
    with pytest.raises(BadInput, match="all 3 pairs are ties"):
        ties_of([replace(one, tie=True) for one in messages(3)])


def test_of_people_who_often_tie_three_answers_are_predicted_in_one_pass() -> None:
    data = os.environ.get("TRIBRAIN_DATA")
    if data is None:
        pytest.skip("set TRIBRAIN_DATA to the folder of human preferences")
    pairs = preferences(Path(data) / "preferences", "viescore_image", ties=True)
    losses = []
    for seed in range(4):
        known, unseen = tables(*split(pairs, seed))
        (*_, last) = measure("laplace", known, unseen, orders=2)
        losses.append(figures(last, unseen.tasks, unseen.ties)["log_loss_with_ties"])
    assert np.mean(losses) <= 0.876
