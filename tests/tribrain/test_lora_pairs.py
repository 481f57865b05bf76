"""What is wrong with pairs of texts is said before anything is to be installed."""

from __future__ import annotations

from pathlib import Path

import pytest

import trainers.extras
from tests.tribrain.test_cli import code_of

TEXTS = b'{"goal_instruction": "g", "chosen_prompt": "%s", "rejected_prompt": "b"}\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "pairs.jsonl: no such file"),
        (b"", "pairs.jsonl: the file is empty"),
        (b"{}\n", "pairs.jsonl@line 1: "),
        (b"\xe4\n", "pairs.jsonl@line 1: byte 0xe4 is not UTF-8"),
        (TEXTS % b"b", "nothing to learn from: found 1 "),
        (TEXTS % b"a", "found 1 pair of a single task"),
    ],
    ids=["missing", "empty", "no pair", "Latin-1", "equal texts", "one task"],
)
def test_bad_pairs_are_named_where_the_extra_is_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    said: str,
) -> None:
    monkeypatch.setattr(trainers.extras, "_PACKAGES", {"lora": ("no_such_package",)})
    pairs = tmp_path / "pairs.jsonl"
    if content is not None:
        pairs.write_bytes(content)
    words = ("--pairs", str(pairs), "--base-model", "any", "--out-dir", str(tmp_path / "out"))
    assert code_of("train-lora-rm", *words) == 2
    assert said in capsys.readouterr().err
