"""People vote when runs are over: what was predicted before any trusted label of a run is evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair
from tests.bench.learning import preferences
from tests.factories import pair
from tests.states import read_back
from tests.trainers.online.test_learner import learnt, tasks
from trainers.bradley_terry.reward import critics_mean
from trainers.online.admission import LATE_TASKS
from trainers.online.learner import OnlineLearner


def votes_last(messages: Sequence[PairMessage]) -> list[PairMessage]:
    """The same, but all votes come when every run is over."""
    votes = [m for m in messages if isinstance(m, PreferencePair) and m.label_source == "human"]
    return [*(message for message in messages if message not in votes), *votes]


def vote(run: int, nth: int = 0, *, chosen: float = 0.9, rejected: float = 0.1) -> PreferencePair:
    return pair({"goal.task": chosen}, {"goal.task": rejected}, run_id=f"run-{run}", pair_id=f"v{run}.{nth}")


def of_critics(n_runs: int) -> list[PairMessage]:
    return [*tasks(n_runs, seed=3, sources=("critic",))]


def test_votes_after_the_runs_open_the_gate() -> None:
    snapshot = learnt(votes_last(tasks(120, seed=5, sources=("human", "critic")))).snapshot()
    assert snapshot.gate == "active"
    assert snapshot.metrics["trusted"]["n"] == 360
    assert "no_evidence" not in snapshot.metrics


def test_votes_by_chance_after_the_runs_open_it_hardly_ever() -> None:
    opened = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        runs = of_critics(60)
        votes = [
            vote(run, n, chosen=float(rng.random()), rejected=float(rng.random()))
            for run in range(60)
            for n in range(3)
        ]
        opened += learnt([*runs, *votes]).snapshot().gate == "active"
    assert opened <= 1


def test_a_vote_on_a_run_with_outcomes_is_learnt_and_is_no_evidence_and_that_is_said() -> None:
    runs = tasks(3, seed=3)
    before, after = learnt(runs).snapshot(), learnt([*runs, vote(0)]).snapshot()
    assert after.labels["human"] == 1
    assert after.metrics["no_evidence"] == {"human": 1}
    assert after.metrics["trusted"] == before.metrics["trusted"]


def test_no_vote_of_a_run_is_predicted_by_what_another_of_it_has_taught() -> None:
    learner = learnt(of_critics(5))
    predicted = []
    for n in range(10):
        learner.on_message(vote(0, n))
        predicted.append(learner.snapshot().metrics["trusted"]["log_loss"])
    assert predicted == pytest.approx([predicted[0]] * 10)


def test_a_run_s_votes_are_a_bet_once_others_are_voted_on() -> None:
    learner = learnt(of_critics(LATE_TASKS + 1))
    for run in range(LATE_TASKS):
        learner.on_messages([vote(run, 0), vote(run, 1)])
    learner.on_message(vote(0, 2))
    assert learner.snapshot().metrics["gate"]["tasks"] == 0
    learner.on_message(vote(LATE_TASKS, 0))
    assert learner.snapshot().metrics["gate"]["tasks"] == 1
    learner.on_message(vote(0, 3))
    assert "no_evidence" not in learner.snapshot().metrics, "run 0 had been voted on since run 1"
    learner.on_message(vote(1, 2))
    assert learner.snapshot().metrics["no_evidence"] == {"human": 1}


def test_a_run_that_is_voted_on_stays_closed_for_its_own_labels() -> None:
    runs = of_critics(3)
    once = learnt([*runs, vote(0)])
    version = once.version
    again = learnt([*runs, vote(0)])
    for message in runs:
        assert not again.on_message(message)
    assert again.version == version
    assert encode(again.snapshot()) == encode(once.snapshot())


def test_the_end_of_a_file_settles_what_was_voted_on() -> None:
    learner = learnt([*of_critics(3), vote(0), vote(1)])
    learner.finish()
    assert learner.snapshot().metrics["gate"]["tasks"] == 2


def test_a_restored_learner_goes_on_with_the_runs_that_are_voted_on() -> None:
    start = [*of_critics(3), vote(0), vote(1)]
    rest = [vote(0, 1), vote(2), vote(1, 1)]
    whole, restored = learnt(start), read_back(learnt(start))
    for message in rest:
        whole.on_message(message)
        restored.on_message(message)
    assert encode(restored.snapshot()) == encode(whole.snapshot())
    assert restored.state().keys() == whole.state().keys()


def hours_later(pairs: Sequence[PreferencePair]) -> OnlineLearner:
    """Each task is a run whose candidates the critics' mean has compared; people vote when all are over.

    In a random order of the tasks, since the files have theirs by kind.
    """
    by_task: dict[str, list[PreferencePair]] = {}
    for n, one in enumerate(pairs):
        name = f"run-{one.task_id}"
        by_task.setdefault(name, []).append(replace(one, run_id=name, pair_id=f"human-{n}"))
    names = sorted(by_task)
    runs = {names[i]: by_task[names[i]] for i in np.random.default_rng(0).permutation(len(names))}
    learner = OnlineLearner()
    for name, votes in runs.items():
        for one in votes:
            sides = one.chosen_critics, one.rejected_critics
            if critics_mean(sides[0]) < critics_mean(sides[1]):
                sides = sides[1], sides[0]
            learner.on_message(
                replace(
                    one, label_source="critic", pair_id="", chosen_critics=sides[0], rejected_critics=sides[1]
                )
            )
        learner.on_message(PairsEnd(run_id=name, task_id=name, n_pairs=len(votes), n_candidates=2))
    for votes in runs.values():
        learner.on_messages(votes)
    return learner


@pytest.mark.parametrize("name", ["tvge_video", "viescore_image"])
def test_votes_of_people_that_come_hours_after_the_runs_open_the_gate(name: str) -> None:
    data = os.environ.get("TRIBRAIN_DATA")
    if data is None:
        pytest.skip("set TRIBRAIN_DATA to the folder of human preferences")
    snapshot = hours_later(preferences(Path(data) / "preferences", name)).snapshot()
    assert snapshot.gate == "active"
    assert snapshot.metrics["trusted"]["n"] == snapshot.labels["human"]
