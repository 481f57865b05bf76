"""Whoever learns from files of pairs leaves out those of scores that a rescoring replaced, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

import tribrain
from streams.messages.codec import encode
from tests.factories import revision, run
from tests.trainers.pairs.test_revisions import formed
from tests.tribrain.test_cli import code_of

MADE = run([0.2, 0.8, 0.5])
REPLACED = "left out: 2 pairs of scores that a rescoring replaced"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The pairs of a run and those of its revision, as the pairs topic has them."""
    paths = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    for path, messages in zip(paths, (MADE, revision(MADE, {0: 0.8, 1: 0.2, 2: 0.5})), strict=True):
        path.write_bytes(b"".join(encode(pair) + b"\n" for pair in formed(messages)))
    return paths


@pytest.mark.parametrize("command", ["train", "train-text"])
def test_a_training_learns_none_of_them_in_whichever_file(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    before, after = files
    models = []
    for number, given in enumerate([(before, after), (after,)]):
        out = tmp_path / f"{number}.json"
        pairs = [word for path in given for word in ("--pairs", str(path))]
        assert code_of("reward", command, *pairs, "--out", str(out)) == 0
        models.append(orjson.loads(out.read_bytes())["labels"])
    assert models[0] == models[1]
    assert f"{before}, {after}: {REPLACED}\n" in capsys.readouterr().err


def test_an_export_for_others_has_none_of_them(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = tmp_path / "pairs.jsonl"
    both.write_bytes(b"".join(path.read_bytes() for path in files))
    out = tmp_path / "trl.jsonl"
    assert code_of("pairs", "share", "--pairs", str(both), "--format", "trl", "--out", str(out)) == 0
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert {(row["chosen"], row["rejected"]) for row in rows} == {
        ("prompt 0", "prompt 1"),
        ("prompt 0", "prompt 2"),
    }
    assert "left out: pairs of scores that a rescoring replaced (2)" in capsys.readouterr().out


def test_an_evaluation_measures_none_of_them(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, model = tmp_path / "pairs.jsonl", tmp_path / "model.json"
    both.write_bytes(b"".join(path.read_bytes() for path in files))
    assert code_of("reward", "train", "--pairs", str(files[1]), "--out", str(model)) == 0
    capsys.readouterr()
    said = []
    for holdout in (both, files[1]):
        assert code_of("reward", "evaluate", "--reward", str(model), "--holdout", str(holdout), "--json") == 0
        said.append(capsys.readouterr())
    assert f"{both}: {REPLACED}\n" in said[0].err
    assert said[0].out == said[1].out


def test_a_library_user_is_warned(files: tuple[Path, Path], tmp_path: Path) -> None:
    both = tmp_path / "pairs.jsonl"
    with both.open("wb") as joined:
        for path in files:
            shutil.copyfileobj(path.open("rb"), joined)
    with pytest.warns(UserWarning, match=r"pairs of scores that a rescoring replaced \(2\)"):
        reward = tribrain.learn(tribrain.read_pairs(both))
    assert reward.snapshot.labels == tribrain.learn(tribrain.read_pairs(files[1])).snapshot.labels
