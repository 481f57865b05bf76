"""What is said of a model: its odds as lines of text, and its gate before it has opened."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.messages.contracts import RewardSnapshot
from tests import factories
from tests.trainers.evidence.test_late_votes import of_critics, vote
from tests.trainers.online.test_learner import learnt, tasks
from tests.trainers.online.test_withdrawn import asked
from trainers.bradley_terry.explain import Explanation, explain
from trainers.bradley_terry.reward import reward_on
from trainers.online.admission import LATE_TASKS
from trainers.online.train import train_on_pairs
from tribrain.story.model import gate_in_words, odds_lines, odds_of_all
from tribrain.ui.model_page import calibration_in_words


def after_votes_on(n_runs: int) -> Explanation:
    """All runs have ended, and people vote once on each of the first."""
    votes = [vote(run) for run in range(n_runs)]
    return explain(learnt([*of_critics(LATE_TASKS + 1), *votes]).snapshot())


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        (0, "It has no labels from people or validators yet, and only those are evidence."),
        (
            1,
            "The one vote is not evidence yet: only votes that prefer one video of a",
        ),
        (LATE_TASKS, f"None of the {LATE_TASKS} votes is evidence yet: only votes"),
    ],
)
def test_before_any_label_is_evidence_it_is_said_when_one_will_be(votes: int, words: str) -> None:
    assert words in gate_in_words(after_votes_on(votes))


def test_a_run_s_votes_are_evidence_once_eight_other_finished_runs_are_voted_on() -> None:
    assert "only once eight other finished runs have been voted on" in gate_in_words(after_votes_on(8))
    assert "after 1 task, and 20 is needed" in gate_in_words(after_votes_on(9))


def test_a_validator_s_labels_are_said_to_count_when_their_run_ends() -> None:
    labels = [message for message in tasks(1, seed=3, sources=("outcome",)) if hasattr(message, "pair_id")]
    said = gate_in_words(explain(learnt(labels).snapshot()))
    assert "labels from validators is evidence yet: those of a run count when it ends" in said


def test_where_no_label_is_evidence_yet_nobody_is_told_that_there_are_no_labels() -> None:
    votes = [asked(f"v{n}", f"run-{n}") for n in range(5)]
    explanation = explain(learnt([*of_critics(1), *votes]).snapshot())
    assert explanation.labels["human"] == 5
    assert calibration_in_words(explanation).startswith("None of its labels is evidence yet")
    assert calibration_in_words(after_votes_on(0)).startswith("There are no labels from people")


def learnt_on(dimensions: tuple[str, ...], critic: str = "eye.task") -> RewardSnapshot:
    """Of a pair on each, whose chosen side a prompt for physics made."""
    pairs = [
        replace(
            factories.pair({critic: 0.9}, {critic: 0.1}, task_id=f"t{n}", pair_id=str(n)),
            dimension=dimension,
            chosen_context={"arm": "physics"},
            rejected_context={"arm": "task"},
        )
        for n, dimension in enumerate(dimensions)
    ]
    return train_on_pairs(pairs)


def test_odds_are_shown_under_the_names_that_critics_have() -> None:
    _, table, *_ = odds_lines(explain(learnt_on(("",), critic="det.AP@IoU=0.50")))
    assert " det.AP@IoU=0.50 " in table


def test_a_context_s_odds_are_said_to_be_against_the_average_of_its_kind() -> None:
    assert any("average of its kind" in line for line in odds_lines(explain(learnt_on(("",)))))


def test_the_odds_of_each_dimension_stand_under_its_statement() -> None:
    model = learnt_on(("", "physics"))
    lines = odds_of_all(model)
    assert lines == [
        *odds_lines(explain(model)),
        f"On physics: {model.dimensions['physics'].statement}",
        *odds_lines(explain(reward_on(model, "physics"))),
    ]


def test_a_model_that_has_learnt_nothing_has_no_table_of_odds() -> None:
    assert odds_of_all(learnt_on(("physics",)))[0].startswith("On physics: ")
