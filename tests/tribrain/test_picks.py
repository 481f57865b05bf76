"""``tribrain evaluate-picks`` and ``tribrain explain``: what they say, in text, JSON and pictures."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from runner.lab.picks import POLICIES
from streams.messages.codec import encode
from tests import factories
from tests.tribrain.test_cli import code_of
from trainers.bradley_terry.estimators import LearnerName, Recipe
from trainers.online.train import train_on_pairs

PAIRS = [
    factories.pair(
        {"good": 0.6 + n % 4 / 10, "vain": n % 3 / 2}, {"good": n % 5 / 10, "vain": 0.5}, task_id=f"t{n}"
    )
    for n in range(60)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("train.jsonl").write_bytes(b"".join(encode(pair) + b"\n" for pair in PAIRS))
    rng = random.Random(3)
    lines = [
        {
            "task_id": f"task {task}",
            "candidate_id": str(i),
            "critic_scores": {"good": rng.random(), "vain": rng.random() if i else None},
            "human_score": 10 * rng.random(),
            "domain": "more than is needed",
        }
        for task in range(6)
        for i in range(3 + task % 2)
    ]
    Path("candidates.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    for name, learner in NAMED_MODELS.items():
        Path(name).write_bytes(encode(train_on_pairs(PAIRS, recipe=Recipe(learner=learner))))
    return tmp_path


NAMED_MODELS: dict[str, LearnerName] = {"point.json": "river-logistic", "posterior.json": "laplace"}
EVALUATE = ("evaluate-picks", "--pairs", "train.jsonl", "--candidates", "candidates.jsonl")


def test_every_policy_has_a_figure_and_an_interval_for_every_k(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*EVALUATE, "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert (said["tasks"], said["k"], said["tasks_per_k"]) == (6, [2, 3, 4], [6, 6, 3])
    assert set(said["policies"]) == set(POLICIES)
    for policy in said["policies"].values():
        for figure in ("human_score", "ci95", "minus_critics_mean", "minus_critics_mean_ci95"):
            assert len(policy[figure]) == 3
        assert all(low <= high for low, high in policy["ci95"])
        assert "candidates_for_means_best" in policy
    assert said["best_single_critic"] == "good"
    assert said["unit"] == "standard deviations"
    assert (said["learner"], said["preference_weight"]) == ("laplace", 0.25)


def test_the_raw_score_is_in_the_unit_of_the_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*EVALUATE, "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    for policy in said["policies"].values():
        in_unit = [said["human_score_mean"] + said["human_score_sd"] * s for s in policy["human_score"]]
        assert policy["human_score_raw"] == pytest.approx(in_unit)


def test_the_learner_is_the_one_that_was_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*EVALUATE, "--learner", "river-logistic", "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["learner"] == "river-logistic"


def test_the_text_has_a_line_for_every_k(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*EVALUATE) == 0
    said = capsys.readouterr().out
    for k in ("2", "3", "4"):
        assert sum(line.split()[:1] == [k] for line in said.splitlines()) == 2
    assert "the best single critic is good" in said
    assert "Candidates needed for what the critics' mean picks out of 4" in said


@pytest.mark.parametrize("words", [EVALUATE, ("explain", "--model", "posterior.json")], ids=lambda w: w[0])
def test_a_picture_is_drawn_where_it_is_asked_for(
    folder: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(folder.iterdir())
    assert code_of(*words) == 0
    assert set(folder.iterdir()) == before
    assert code_of(*words, "--plot", "new/picture.png") == 0
    assert Path("new/picture.png").read_bytes().startswith(b"\x89PNG")
    assert "picture: new/picture.png" in capsys.readouterr().out


def test_a_model_with_a_posterior_is_explained_with_intervals(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("explain", "--model", "posterior.json", "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert said["effects"][0]["feature"] == "good"
    assert said["step"] == 0.25
    assert said["has_intervals"] is True
    for effect in said["effects"]:
        low, high = effect["odds_ratio_ci95"]
        assert low < effect["odds_ratio"] < high
    assert {"statement", "evidence", "gate", "labels"} <= said.keys()


def test_a_point_estimate_says_that_it_has_no_interval(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("explain", "--model", "point.json", "--plot", "p.png") == 0
    assert "point estimate, no interval" in capsys.readouterr().out
    assert code_of("explain", "--model", "point.json", "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert said["has_intervals"] is False
    assert {effect["odds_ratio_ci95"] for effect in said["effects"]} == {None}


def test_the_effect_is_of_the_step_that_was_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def odds(step: str) -> float:
        assert code_of("explain", "--model", "point.json", "--step", step, "--json") == 0
        first = orjson.loads(capsys.readouterr().out)["effects"][0]["odds_ratio"]
        assert isinstance(first, float)
        return first

    assert odds("0.5") == pytest.approx(odds("0.25") ** 2)


def test_a_training_prints_the_odds_that_explain_prints_of_its_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = ("physics", "quality", "task")
    pairs = [
        replace(
            pair,
            chosen_context={"arm": arms[n % 3]},
            rejected_context={"arm": arms[(n + 1) % 3]},
        )
        for n, pair in enumerate(PAIRS)
    ]
    Path("arms.jsonl").write_bytes(b"".join(encode(pair) + b"\n" for pair in pairs))
    assert code_of("train-preference-rm", "--pairs", "arms.jsonl", "--out", "arms.json") == 0
    trained = capsys.readouterr().out
    assert code_of("explain", "--model", "arms.json") == 0
    explained = capsys.readouterr().out
    table = trained[trained.index("Odds of being preferred") :]
    assert "@arm=physics" in table
    assert explained.endswith(table)
