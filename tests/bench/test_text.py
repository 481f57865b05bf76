"""The benchmark of the text learner, on few pairs."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from streams.messages.codec import encode
from tests.bench.text import ONLINE, bench
from tests.trainers.text.factories import polite_pairs
from trainers.lora.baselines import TFIDF


def test_both_models_are_measured_on_the_same_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "text" / "hh_harmless.dev.jsonl"
    file.parent.mkdir()
    file.write_bytes(b"".join(encode(pair) + b"\n" for pair in polite_pairs(80)))
    monkeypatch.setenv("TRIBRAIN_DATA", str(tmp_path))
    done = CliRunner().invoke(bench, ["--seeds", "1", "--folds", "2", "--json"])
    said = orjson.loads(done.output)
    assert said["pairs"] == 80
    assert set(said["models"]) == {ONLINE, TFIDF}
    assert all(of["accuracy"] > 0.7 for of in said["models"].values())
    assert said["models"][ONLINE]["bytes"] > 1000


def test_without_data_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIBRAIN_DATA", raising=False)
    done = CliRunner().invoke(bench, [])
    assert done.exit_code == 1
    assert "set TRIBRAIN_DATA to the folder of real preferences" in done.output
