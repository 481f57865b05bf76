"""``tribrain train-text-rm``, and ``evaluate-rm`` on what it makes."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from streams.messages.files import read_reward, read_text_pairs
from tests.trainers.text.factories import polite_pairs
from trainers.text.reward import NgramReward
from trainers.text.train import train_on_texts
from tribrain.cli import main


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    paths = tmp_path / "train.jsonl", tmp_path / "holdout.jsonl"
    for path, pairs in zip(paths, (polite_pairs(120), polite_pairs(60, seed=7)), strict=True):
        path.write_bytes(b"".join(encode(pair) + b"\n" for pair in pairs))
    return str(paths[0]), str(paths[1])


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(str(ended.value.code))


def test_what_it_writes_is_what_the_learner_makes_of_the_files_in_their_order(
    files: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "t.json"
    assert call("train-text-rm", "--pairs", files[1], "--pairs", files[0], "--out", str(out)) == 0
    expected = train_on_texts([*polite_pairs(60, seed=7), *polite_pairs(120)])
    assert out.read_bytes() == encode(expected)
    assert read_reward(out) == expected


def test_json_says_what_was_learnt_and_how_well_it_was_predicted(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "t.json")
    assert call("train-text-rm", "--pairs", files[0], "--out", out, "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert (said["out"], said["version"], said["gate"], said["labels"]) == (
        out,
        120,
        "active",
        {"human": 120},
    )
    assert said["metrics"]["trusted"]["accuracy"] > 0.8
    assert said["metrics"]["trusted"]["log_loss_chance"] == pytest.approx(0.6931, abs=1e-4)


def test_as_text_it_says_so_too(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train-text-rm", "--pairs", files[0], "--out", str(tmp_path / "t.json")) == 0
    said = capsys.readouterr().out
    assert "Made of 120 human labels: shown to beat chance" in said
    assert "over 120 pairs (chance: 0.500, 0.693), each predicted before its task was learnt" in said


def test_a_text_model_is_measured_with_the_keys_of_any_other(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "t.json")
    assert call("train-text-rm", "--pairs", files[0], "--out", out) == 0
    capsys.readouterr()
    assert call("evaluate-rm", "--model", out, "--holdout", files[1], "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert (said["n_train"], said["n_test"]) == (120, 60)
    measured = said["learners"]["default"]
    assert measured["accuracy"] > 0.85
    assert {"log_loss", "log_loss_ci95", "ece", "accuracy_ci95"} <= set(measured)


def test_on_human_preferences_it_is_better_than_chance_and_calibrated(tmp_path: Path) -> None:
    data = os.environ.get("TRIBRAIN_DATA")
    if not data:
        pytest.skip("set TRIBRAIN_DATA to the folder of real preferences")
    pairs, out = Path(data) / "text" / "hh_harmless.dev.jsonl", tmp_path / "t.json"
    assert call("train-text-rm", "--pairs", str(pairs), "--out", str(out)) == 0
    snapshot = read_reward(out)
    figures = snapshot.metrics["by_label_source"]["critic"]
    # Four pairs lack one of their texts.
    assert (figures["n"], snapshot.metrics["empty_texts"]) == (1803, 4)
    assert figures["accuracy"] > 0.6
    assert figures["log_loss"] < 0.66
    assert figures["ece"] < 0.04
    assert len(out.read_bytes()) < 1_000_000


def test_one_reward_can_be_asked_from_many_threads() -> None:
    """Nothing in it can be written to."""
    reward = NgramReward(train_on_texts(polite_pairs(20)))
    for array in reward.arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(
    "command", ["train-text-rm --out made.json", "train-lora-rm --base-model nobody/nothing --out made"]
)
def test_a_table_is_refused_with_what_makes_pairs_of_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("goal_instruction,chosen_prompt,rejected_prompt\ntea,hot tea,cold tea\n")
    assert call(*command.split(), "--pairs", "x.csv") == 2
    said = capsys.readouterr().err
    remedy = "pandas.read_csv('x.csv').to_json('x.jsonl', orient='records', lines=True)"
    assert remedy in said
    pandas = pytest.importorskip("pandas", reason="make lora installs it")
    pandas.read_csv("x.csv").to_json("x.jsonl", orient="records", lines=True)
    (pair,) = read_text_pairs(Path("x.jsonl"))
    assert isinstance(pair, PreferencePair)
    assert (pair.chosen_prompt, pair.rejected_prompt) == ("hot tea", "cold tea")
