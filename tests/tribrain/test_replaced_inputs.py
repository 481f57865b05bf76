"""No command writes over a file that it reads, or over a run's trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.messages.codec import encode
from tests.factories import run
from tests.tribrain.test_cli import code_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with its pairs and the model that was learnt from them."""
    trace = [encode(message) for message in run([0.2, 0.9, 0.5, 0.7])]
    (tmp_path / "trace.jsonl").write_bytes(b"\n".join(trace) + b"\n")
    assert code_of("pairs", "export", "--run-dir", str(tmp_path), "--out", str(tmp_path / "pairs.jsonl")) == 0
    learnt = ("--pairs", str(tmp_path / "pairs.jsonl"), "--out", str(tmp_path / "bt_reward.json"))
    assert code_of("reward", "train", *learnt) == 0
    (tmp_path / "linked.jsonl").symlink_to("pairs.jsonl")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "replaced", "said"),
    [
        (
            ("pairs", "export", "--run-dir", ".", "--out", "trace.jsonl"),
            "trace.jsonl",
            "is a run's trace, which '--out' / '-o' must not replace; choose another path",
        ),
        (
            ("reward", "train", "--pairs", "pairs.jsonl", "--out", "pairs.jsonl"),
            "pairs.jsonl",
            "'--out' / '-o' and '--pairs' are one file, pairs.jsonl; choose another for '--out' / '-o'",
        ),
        (
            ("reward", "train", "--pairs", "pairs.jsonl", "--out", "linked.jsonl"),
            "pairs.jsonl",
            "are one file",
        ),
        (
            ("reward", "train-text", "--pairs", "pairs.jsonl", "--out", "pairs.jsonl"),
            "pairs.jsonl",
            "are one file",
        ),
        (
            ("reward", "explain", "--reward", "bt_reward.json", "--plot", "bt_reward.json"),
            "bt_reward.json",
            "'--plot' and '--reward' are one file",
        ),
    ],
    ids=["trace", "pairs", "link", "text", "plot"],
)
def test_a_file_that_is_read_is_not_written(
    words: tuple[str, ...],
    replaced: str,
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = (folder / replaced).read_bytes()
    assert code_of(*words) == 2
    assert said in capsys.readouterr().err
    assert (folder / replaced).read_bytes() == before


def test_a_result_is_written_over_an_earlier_one(folder: Path) -> None:
    assert code_of("pairs", "export", "--run-dir", str(folder), "--out", str(folder / "pairs.jsonl")) == 0
