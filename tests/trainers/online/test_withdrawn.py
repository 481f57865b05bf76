"""Votes that are taken back, and votes that were asked for because of what a model believes."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from streams.messages.contracts import PairsEnd, PreferencePair, RewardSnapshot
from tests.factories import pair
from tests.states import read_back
from tests.trainers.online.test_learner import tasks
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, Recipe
from trainers.online.learner import OnlineLearner
from trainers.online.train import train_on_pairs


def vote(
    name: str = "v1", *, run: str = "run-x", tie: bool = False, dimension: str = "", **meta: str
) -> PreferencePair:
    made = pair(
        {"goal.task": 0.9, "jump.physics": 0.2}, {"goal.task": 0.3, "jump.physics": 0.7},
        run_id=run, task_id=run, pair_id=name,
    )  # fmt: skip
    return replace(made, tie=tie, dimension=dimension, meta={"mode": "vote", "vote_id": name, **meta})


def undone(of: PreferencePair) -> PreferencePair:
    return replace(of, withdrawn=True)


def learner_of(learner: LearnerName = "laplace", n_runs: int = 20) -> OnlineLearner:
    made = OnlineLearner(recipe=Recipe(learner=learner))
    made.on_messages(tasks(n_runs, seed=3, sources=("human", "critic")))
    return made


def weights(snapshot: RewardSnapshot) -> np.ndarray:
    return np.array(list(snapshot.weights.values()))


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("n_runs", [0, 20])
def test_a_vote_that_is_taken_back_leaves_the_model_where_it_was(
    learner: LearnerName, tie: bool, n_runs: int
) -> None:
    model = learner_of(learner, n_runs)
    model.on_messages([vote("known", run="run-y")])
    before = model.snapshot()
    model.on_message(vote(tie=tie), known_new=True)
    learnt = model.snapshot()
    assert model.on_message(undone(vote(tie=tie)), known_new=True)
    after = model.snapshot()
    moved = np.abs(weights(learnt) - weights(before)).max()
    assert moved > 0.0
    assert np.abs(weights(after) - weights(before)).max() <= 0.03 * moved
    assert after.labels == before.labels
    assert after.version == before.version + 2


def test_what_a_vote_showed_before_it_was_taken_back_stays_evidence() -> None:
    model = learner_of()
    model.on_messages([vote(), undone(vote())])
    assert model.snapshot().metrics["trusted"]["n"] == 61


def test_to_take_back_what_was_never_learnt_changes_nothing() -> None:
    model = learner_of()
    before = model.snapshot()
    for never in (undone(vote()), undone(vote(dimension="physics")), undone(replace(vote(), pair_id=""))):
        assert not model.on_message(never, known_new=True)
    assert model.snapshot() == before


def test_a_vote_is_undone_once() -> None:
    model = learner_of()
    model.on_messages([vote(), undone(vote())], [True, True])
    once = model.snapshot()
    assert not model.on_message(undone(vote()), known_new=True)
    assert model.snapshot() == once


def test_a_model_of_critics_and_one_vote_that_is_taken_back_is_of_critics_alone_again() -> None:
    model = OnlineLearner()
    model.on_messages(tasks(5, seed=3, sources=("critic",)))
    before = model.snapshot()
    model.on_messages([vote(), undone(vote())])
    after = model.snapshot()
    assert after.statement == before.statement
    assert {name: after.weights[name] for name in before.weights} == pytest.approx(before.weights, abs=3e-3)
    assert read_back(model).snapshot() == after


def test_the_vote_that_stands_in_its_place_counts_as_the_first_of_its_task() -> None:
    plain, corrected = learner_of(), learner_of()
    plain.on_messages([vote("v2")])
    corrected.on_messages([vote("v1"), undone(vote("v1")), vote("v2")])
    assert weights(corrected.snapshot()) == pytest.approx(weights(plain.snapshot()), abs=1e-4)


def test_a_restored_learner_undoes_what_it_had_learnt_before() -> None:
    model = learner_of()
    model.on_messages([vote()])
    restored = read_back(model)
    for each in (model, restored):
        each.on_messages([undone(vote()), vote("v2")], [True, True])
    assert restored.snapshot() == model.snapshot()


def test_a_vote_on_a_dimension_is_undone_there() -> None:
    model = learner_of()
    on_physics = vote(dimension="physics")
    model.on_messages([vote("other", run="run-y", dimension="physics")])
    before = model.snapshot()
    model.on_messages([on_physics, undone(on_physics)], [True, True])
    after = model.snapshot()
    of_before, of_after = (snapshot.dimensions["physics"] for snapshot in (before, after))
    assert of_after.labels == of_before.labels
    assert of_after.weights == pytest.approx(of_before.weights, abs=1e-4)
    assert after.weights == before.weights


def test_a_file_is_learnt_without_the_votes_that_are_taken_back_in_it() -> None:
    others = tasks(5, seed=3, sources=("human",))
    assert train_on_pairs([vote(), *others, undone(vote())]) == train_on_pairs(others)


def asked(name: str, run: str = "run-x") -> PreferencePair:
    return vote(name, run=run, rule="variance", annotator="ann")


def test_what_was_asked_because_of_the_model_is_learnt_and_is_no_evidence_and_that_is_said() -> None:
    model = learner_of()
    before = model.snapshot()
    model.on_messages([asked("v1"), PairsEnd(run_id="run-x", task_id="run-x", n_pairs=1, n_candidates=2)])
    after = model.snapshot()
    assert after.labels["human"] == before.labels["human"] + 1
    assert weights(after) != pytest.approx(weights(before))
    assert after.metrics["no_evidence"] == {"human": 1}
    assert after.metrics["trusted"] == before.metrics["trusted"]
    assert after.metrics["gate"] == before.metrics["gate"]


@pytest.mark.parametrize("rule", ["", "random"])
def test_what_was_drawn_at_random_is_evidence(rule: str) -> None:
    model = learner_of()
    before = model.snapshot().metrics["trusted"]["n"]
    model.on_messages([vote(rule=rule)])
    assert model.snapshot().metrics["trusted"]["n"] == before + 1


def test_people_are_compared_on_pairs_that_were_asked_because_of_the_model_too() -> None:
    model = learner_of()
    model.on_messages([asked("v1"), replace(vote("v2"), meta={**asked("v2").meta, "annotator": "bob"})])
    assert model.snapshot().metrics["annotators"]["bob"]["compared"] == 1


def test_a_vote_on_two_runs_is_no_evidence_where_a_vote_on_one_of_them_was_learnt() -> None:
    of_two = replace(vote("v2", chosen_run_id="run-x", rejected_run_id="run-y"), run_id="", task_id="t")
    known, unknown = learner_of(), learner_of()
    known.on_messages([vote("v1"), of_two])
    unknown.on_messages([of_two])
    assert known.snapshot().metrics["no_evidence"] == {"human": 1}
    assert "no_evidence" not in unknown.snapshot().metrics
