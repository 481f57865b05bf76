"""``tribrain experiment-votes``: a table, one object, and files in either format."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from streams.messages.codec import encode
from tests.runner.lab.test_vote_experiment import judged
from tests.tribrain.test_cli import code_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pairs = judged(tasks=16)
    Path("pairs.jsonl").write_bytes(b"".join(encode(pair) + b"\n" for pair in pairs))
    candidates, named = {}, []
    for pair in pairs:
        names = []
        for critics in (pair.chosen_critics, pair.rejected_critics):
            names.append(f"made-{critics['good']}")
            candidates[pair.task_id, names[-1]] = critics
        line = {"task_id": pair.task_id, "chosen": names[0], "rejected": names[1], "tie": pair.tie}
        named.append(orjson.dumps(line))
    Path("named.jsonl").write_bytes(b"\n".join(named))
    Path("candidates.jsonl").write_bytes(
        b"\n".join(
            orjson.dumps({"task_id": task, "candidate_id": name, "critic_scores": critics, "human_score": 1})
            for (task, name), critics in candidates.items()
        )
    )
    return tmp_path


RUN = (
    "experiment-votes",
    "--repetitions",
    "2",
    "--votes",
    "60",
    "--rule",
    "spread",
    "--rule",
    "loss-optimal",
)


def test_json_is_one_object_with_every_arm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--random-share",
        "0",
        "--random-share",
        "0.2",
        "--flips",
        "0.1",
        "--json",
        "--pairs",
        "pairs.jsonl",
    )
    assert code_of(*RUN, *words) == 0
    said = orjson.loads(capsys.readouterr().out)
    assert list(said["arms"]) == [
        "random, 10% wrong",
        "spread, 10% wrong", "spread, 20% random, 10% wrong",
        "loss-optimal, 10% wrong", "loss-optimal, 20% random, 10% wrong",
    ]  # fmt: skip
    assert said["votes"] == [5, 10, 15, 20, 30, 40, 50, 60]
    for arm in said["arms"].values():
        assert len(arm["log_loss"]) == len(arm["minus_random_ci95"]) == len(arm["worth"]) == 8
    assert (said["pairs"], said["tasks"], said["ties"], said["repetitions"]) == (96, 16, 16, 2)
    assert said["known"] == "critics alone"


def test_pairs_that_name_their_candidates_are_the_same_pairs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for words in (("pairs.jsonl",), ("named.jsonl", "--candidates", "candidates.jsonl")):
        assert code_of(*RUN, "--json", "--pairs", *words) == 0
        said.append(orjson.loads(capsys.readouterr().out))
    assert said[0] == said[1]


def test_who_made_each_side_is_learnt_where_it_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--json", "--pairs", "named.jsonl", "--candidates", "candidates.jsonl")
    losses = []
    for more in ((), ("--who-made-each-side",)):
        assert code_of(*RUN, *words, *more) == 0
        said = orjson.loads(capsys.readouterr().out)
        losses.append(said["arms"]["random"]["log_loss"])
    assert said["known"] == "who made each side"
    assert losses[0] != losses[1]


def test_the_table_has_a_row_for_each_arm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*RUN, "--votes", "100", "--pairs", "pairs.jsonl") == 2
    capsys.readouterr()
    words = ("experiment-votes", "--pairs", "pairs.jsonl", "--repetitions", "2", "--rule", "spread")
    assert code_of(*words) == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["asked", "random", "spread"]
    assert said.err == ""
    assert "96 pairs of 16 tasks, 16 ties; 2 repetitions." in said.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pairs", "named.jsonl"), r"named.jsonl@line 1: no candidate 'made-"),
        (("--pairs", "nowhere.jsonl"), "nowhere.jsonl: no such file"),
        (("--pairs", "pairs.jsonl", "--repetitions", "1"), "1 is not in the range x>=2"),
        (("--pairs", "pairs.jsonl", "--rule", "best"), "'best' is not one of 'random', 'spread'"),
        (("--pairs", "pairs.jsonl", "--votes", "401"), "401 is not in the range"),
        (("--pairs", "pairs.jsonl", "--flips", "1.5"), "1.5 is not in the range"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("experiment-votes", *words) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_share_that_the_page_asks_with_is_measured_beside_the_given_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*RUN, "--json", "--pairs", "pairs.jsonl", "--rising-share") == 0
    arms = orjson.loads(capsys.readouterr().out)["arms"]
    shares = {name: arm["random_share"] for name, arm in arms.items()}
    assert shares == {
        "random": 0.0,
        "spread": 0.0, "spread, rising share": None,
        "loss-optimal": 0.0, "loss-optimal, rising share": None,
    }  # fmt: skip
    assert all(len(arm["picked"]) == len(arm["picked_minus_random_ci95"]) == 8 for arm in arms.values())
