"""Learning in Python is what the commands and the live trainer do."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from tests import factories
from tests.tribrain.api.judged import PAIRS, ROWS
from tribrain import (
    BadInput,
    PreferenceLearner,
    comparison,
    learn,
    pairs_from_runs,
    pairs_from_table,
    read_pairs,
)
from tribrain.cli import main


def test_a_table_and_its_pairs_teach_the_same() -> None:
    assert learn(ROWS) == learn(PAIRS) == learn(iter(PAIRS))


def test_learning_is_what_the_command_does(tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "bt_reward.json"
    pairs.write_bytes(b"".join(encode(pair) + b"\n" for pair in PAIRS))
    with pytest.raises(SystemExit) as ended:
        main(
            ["train-preference-rm", "--pairs", str(pairs), "--out", str(out), "--epochs", "2", "--seed", "5"]
        )
    assert ended.value.code == 0
    reward = learn(read_pairs(str(pairs)), epochs=2, seed=5)
    assert encode(reward.snapshot) == out.read_bytes()


def test_a_table_as_a_file_is_refused_with_how_to_learn_it_and_pairs_may_have_its_ending(
    tmp_path: Path,
) -> None:
    path = tmp_path / "votes.CSV"
    path.write_text("task,winner,left_sharp,right_sharp\ntea,left,0.9,0.4\n")
    with pytest.raises(BadInput, match=r"tribrain\.learn\(pandas\.read_csv"):
        read_pairs(path)
    path.write_bytes(encode(PAIRS[0]) + b"\n")
    assert read_pairs(path) == PAIRS[:1]


def test_pairs_of_runs_are_those_of_the_command(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        messages = factories.run([0.2, 0.9, 0.3], run_id=f"run-{folder.name}")
        (folder / "trace.jsonl").write_bytes(b"".join(encode(message) + b"\n" for message in messages))
        options = ("--run-dir", str(folder), "--out", str(folder / "pairs.jsonl"), "--strategy", "adjacent")
        with pytest.raises(SystemExit):
            main(["export-preference-pairs", *options, "--min-gap", "0.1", "--model", "mine"])
    found = pairs_from_runs(*folders, strategy="adjacent", min_gap=0.1, model="mine")
    assert found == [pair for folder in folders for pair in read_pairs(folder / "pairs.jsonl")]
    assert len(found) == 2


def test_one_by_one_pairs_teach_what_all_at_once_do() -> None:
    one_by_one = PreferenceLearner()
    for pair in PAIRS:
        one_by_one.learn_one(pair)
    assert one_by_one.reward == PreferenceLearner().learn_many(PAIRS).reward
    assert one_by_one.reward == PreferenceLearner().learn_many(ROWS).reward


def test_a_reward_does_not_change_with_what_is_learnt_later() -> None:
    learner = PreferenceLearner().learn_many(PAIRS[:30])
    before = learner.reward
    kept = encode(before.snapshot)
    learner.learn_many(PAIRS[30:])
    assert encode(before.snapshot) == kept
    assert learner.reward.version == 60


def test_a_task_is_evidence_once_it_has_ended() -> None:
    pairs = [comparison({"sharp": 0.9}, {"sharp": 0.2}, "left", task=f"task {n}") for n in range(5)]
    learner = PreferenceLearner().learn_many(pairs)
    assert learner.reward.explain().evidence["tasks"] == 0
    for n in range(5):
        learner.end_task(f"task {n}")
    assert learner.reward.explain().evidence["tasks"] == 5
    before = learner.reward.explain().evidence
    assert learner.end_task("never begun").reward.explain().evidence == before


def test_a_pair_with_an_id_that_came_before_is_learnt_once() -> None:
    pair = comparison({"sharp": 0.9}, {"sharp": 0.2}, "left", task="tea", pair_id="vote 1")
    assert PreferenceLearner().learn_one(pair).learn_one(pair).reward.version == 1


def test_a_weight_of_zero_moves_no_weight() -> None:
    nothing = comparison({"sharp": 0.9}, {"sharp": 0.2}, "left", task="cup", weight=0.0)
    weights = [
        PreferenceLearner().learn_many([*PAIRS, *more]).reward.snapshot.weights for more in ((), (nothing,))
    ]
    assert weights[0] == weights[1]


def test_the_learner_that_is_named_learns() -> None:
    reward = learn(ROWS, learner="river-logistic")
    assert reward.snapshot.recipe["learner"] == "river-logistic"
    assert reward.rank({"a": {"sharp": 0.1}, "b": {"sharp": 0.9}})[0].ci95 is None


def test_columns_of_a_table_that_are_to_be_ignored_are_not_learnt() -> None:
    noted = [row | {"notes": "too dark"} for row in ROWS]
    assert learn(noted, ignore=["notes"]) == learn(ROWS)
    assert PreferenceLearner().learn_many(noted, ignore=["notes"]).reward == (
        PreferenceLearner().learn_many(ROWS).reward
    )


def test_columns_to_ignore_are_refused_beside_pairs() -> None:
    with pytest.raises(BadInput, match=r"^ignore: found \['notes'\] beside pairs; expected it with a table"):
        learn(PAIRS, ignore=["notes"])


def _far_off(**changes: Any) -> PreferencePair:
    return replace(PAIRS[0], **changes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "the table has no rows"),
        (iter([]), "the table has no rows"),
        ([PAIRS[0], ROWS[0]], "comparison 1: found {"),
        ([_far_off(model="another")], "comparison 0: is for the model 'another'; expected 'default': name"),
        ([_far_off(weight=math.nan)], "weight"),
        ([_far_off(weight=-1.0)], "weight"),
        ([_far_off(chosen_critics={"sharp": math.inf})], "chosen_critics.sharp"),
        ([_far_off(label_source="somebody")], "label_source"),
        (5, "found a int; expected a dataframe"),
    ],
)
def test_what_cannot_be_learnt_is_refused_and_nothing_of_it_is_learnt(given: Any, said: str) -> None:
    learner = PreferenceLearner().learn_many(PAIRS[:3])
    before = learner.reward
    with pytest.raises(BadInput) as refusal:
        learner.learn_many(given)
    assert said in str(refusal.value)
    assert learner.reward == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "epochs: found 0; expected a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs: found 1.5"),
        ({"epochs": True}, "epochs: found True"),
        ({"learner": "lapalce"}, "no learner is called 'lapalce'; expected river-logistic or laplace"),
        ({"model": "x" * 513}, "model"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(options: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        learn(ROWS, **options)


def test_comparisons_that_no_critic_scored_on_both_sides_teach_nothing() -> None:
    rows = [{"task": 1, "left_sharp": 0.5, "right_sharp": None, "winner": "left"}]
    with pytest.raises(BadInput, match="found 1 pair, none with a critic's score on both sides"):
        learn(rows)


def test_pairs_built_in_python_are_checked_before_all_at_once_is_learnt() -> None:
    with pytest.raises(BadInput, match="weight"):
        learn([*PAIRS, _far_off(weight=-1.0)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategy": "worst"}, "the strategy is 'worst'; expected best_vs_rest or adjacent"),
        ({"min_gap": -0.1}, "min_gap is -0.1; expected a finite number of at least 0"),
        ({"min_gap": math.nan}, "min_gap is nan"),
        ({"top_k": 0}, "top_k is 0; expected a whole number of at least 1"),
        ({"model": ""}, "the reward model's name has 0 characters"),
    ],
)
def test_rules_that_make_no_pairs_are_refused(options: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        pairs_from_runs(tmp_path, **options)


def test_a_run_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no run is named"):
        pairs_from_runs()
    with pytest.raises(BadInput, match=str(tmp_path / "trace.jsonl")):
        pairs_from_runs(tmp_path)


def test_a_table_of_people_s_judgements_teaches_what_they_say_of_other_tasks() -> None:
    """Every other task is learnt."""
    data = os.environ.get("TRIBRAIN_DATA")
    folder = Path(data or "") / "preferences"
    if not data or not folder.is_dir():
        pytest.skip("set TRIBRAIN_DATA to a folder with preferences/")
    candidates, judged = (
        [
            orjson.loads(line)
            for line in (folder / f"viescore_image.dev.{kind}.jsonl").read_bytes().splitlines()
        ]
        for kind in ("candidates", "pairs")
    )
    scores = {(one["task_id"], one["candidate_id"]): one["critic_scores"] for one in candidates}
    rows = [
        {"task": one["task_id"], "winner": "tie" if one["tie"] else "left"}
        | {f"left_{name}": score for name, score in scores[one["task_id"], one["chosen"]].items()}
        | {f"right_{name}": score for name, score in scores[one["task_id"], one["rejected"]].items()}
        for one in judged
    ]
    learnt = set(sorted({row["task"] for row in rows})[::2])
    reward = learn([row for row in rows if row["task"] in learnt])
    unseen = pairs_from_table([row for row in rows if row["task"] not in learnt and row["winner"] != "tie"])
    p = [reward.prob_prefer(pair.chosen_critics, pair.rejected_critics).probability for pair in unseen]
    assert sum(probability > 0.5 for probability in p) / len(p) > 0.75
