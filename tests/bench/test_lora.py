"""The benchmark of the LoRA text reward model on a tiny model, with TRL's figures made up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

if find_spec("peft") is None:
    pytest.skip("the lora extra is not installed", allow_module_level=True)

from streams.messages.codec import encode
from tests.bench import lora
from tests.bench.lora_pass import JOBS
from tests.trainers.lora.tiny import good_over_bad, tiny_base

TRL: Mapping[str, Mapping[str, float]] = {
    "trl": {"cpu_seconds": 1e6, "peak_bytes": 2**30},
    "accuracy_of_trl": {"accuracy": 0.0, "log_loss": 0.9},
}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    base = tiny_base(tmp_path / "base", "bert", _CONFIG)
    (tmp_path / "text").mkdir()
    pairs = b"".join(encode(one) + b"\n" for one in good_over_bad(64, per_task=1))
    (tmp_path / "text" / "hh_harmless.dev.jsonl").write_bytes(pairs)
    monkeypatch.setenv("TRIBRAIN_DATA", str(tmp_path))
    monkeypatch.setattr(lora, "OUT", tmp_path / "RESULTS.md")
    monkeypatch.setattr(lora, "_run", run)
    monkeypatch.setattr(lora, "version", lambda name: "0")
    monkeypatch.setattr("tests.bench.lora_pass._TOKENS", range(100))
    given = ["--base-model", str(base), "--seeds", "2", "--speed-pairs", "16", "--pairs", "32", "--with-trl"]
    done = CliRunner().invoke(lora.bench, [*given, "--write"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "RESULTS.md").read_text().rstrip() == done.stdout.rstrip()
    return done.stdout.splitlines()


_CONFIG = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 256, "pad_token_id": 0,
}  # fmt: skip


def run(job: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return TRL[job] if job in TRL else JOBS[job](**given)


def test_every_figure_has_its_row_and_the_bar_is_judged(said: list[str]) -> None:
    rows = [re.split(r" *\| *", line)[1:-1] for line in said if line.startswith("|")]
    firsts = [row[0] for row in rows]
    assert [row[1] for row in rows if row[0] in ("all", "top-half")] == [
        "ours", "ours, mean pooling", "TRL, grouped by length", "TRL, plain"
    ] * 2  # fmt: skip
    for name in ("LoRA", "TRL", "character TF-IDF", "text length", "chance", "ratio", "adapter"):
        assert name in firsts
    assert next(row for row in rows if row[0] == "TRL")[1:] == ["0.000", "0.000", "0.000", "0.900"]
    assert any(line.startswith("- Accuracy not below TRL: reached, ") for line in said)
    assert any(line.startswith("- Accuracy not below character TF-IDF: not reached, ") for line in said)


def test_without_data_it_says_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIBRAIN_DATA", raising=False)
    done = CliRunner().invoke(lora.bench, [])
    assert done.exit_code == 1
    assert "expected the folder with text/hh_harmless.dev.jsonl" in done.output
