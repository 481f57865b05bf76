"""``tribrain train-text-rm`` and what ``evaluate-rm`` says of its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from streams.codec import encode
from streams.contracts import PreferencePair, TextSnapshot
from streams.files import read_reward
from tests.trainers.text.factories import polite_pairs
from tribrain.cli import main


def write(path: Path, pairs: Sequence[PreferencePair]) -> str:
    path.write_bytes(b"".join(encode(pair) + b"\n" for pair in pairs))
    return str(path)


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(str(ended.value.code))


def train(out: Path, *files: str) -> int:
    return code_of(
        "train-text-rm", *(word for file in files for word in ("--pairs", file)), "--out", str(out)
    )


def test_several_files_are_learnt_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = polite_pairs(200)
    first, second, both = (
        write(tmp_path / name, part) for name, part in (("a", pairs[:90]), ("b", pairs[90:]), ("both", pairs))
    )
    assert train(tmp_path / "parts.json", first, second) == 0
    assert "shown to beat chance" in capsys.readouterr().out
    assert train(tmp_path / "whole.json", both) == 0
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_it_says_in_json_what_it_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, out = write(tmp_path / "pairs.jsonl", polite_pairs(200)), tmp_path / "text_reward.json"
    assert code_of("train-text-rm", "--pairs", pairs, "--out", str(out), "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    snapshot = read_reward(out)
    assert isinstance(snapshot, TextSnapshot)
    assert said == {"out": str(out), "gate": "active", "metrics": snapshot.metrics}
    assert said["metrics"]["trusted"]["n"] == 200


def test_a_goal_and_two_texts_a_line_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "pairs.jsonl"
    line = {"goal_instruction": "tea", "chosen_prompt": "please pour", "rejected_prompt": "pour"}
    pairs.write_bytes(orjson.dumps(line) + b"\n")
    assert train(tmp_path / "m.json", str(pairs)) == 0
    assert "Made of 1 critic labels alone" in capsys.readouterr().out


def test_a_text_model_is_measured_with_the_figures_of_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = write(tmp_path / "known.jsonl", polite_pairs(200))
    unseen = write(tmp_path / "unseen.jsonl", polite_pairs(60, seed=1))
    assert train(tmp_path / "text_reward.json", known) == 0
    capsys.readouterr()
    given = ("--model", str(tmp_path / "text_reward.json"), "--holdout", unseen, "--json")
    assert code_of("evaluate-rm", *given) == 0
    said = orjson.loads(capsys.readouterr().out)
    assert (said["n_train"], said["n_test"], said["n_shared_tasks"]) == (200, 60, None)
    of = said["learners"]["default"]
    assert of["accuracy"] > 0.9
    assert {"log_loss", "ece", "log_loss_ci95", "log_loss_sd_over_orders", "log_loss_after_100"} <= set(of)
