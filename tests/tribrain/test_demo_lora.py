"""``tribrain demo --lora``: a text reward is trained, published and taken up while runs go on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.messages.contracts import TraceEvent
from streams.messages.files import read_trace
from tests.tribrain.processes import command, needs_proc
from tribrain.cli import main

if find_spec("peft") is None:
    pytest.skip("the lora extra is not installed", allow_module_level=True)

from tests.trainers.lora.tiny import CONFIGS, tiny_base

pytestmark = [needs_proc, pytest.mark.long]

_DEMO_S = 400.0


@pytest.fixture(scope="module")
def out(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo-lora")
    base = tiny_base(folder / "bert", "bert", CONFIGS["bert"] | {"max_position_embeddings": 256})
    given = ["--tasks", "10", "--iters", "4", "--lora-every-pairs", "12", "--base-model", str(base)]
    given += ["--bootstrap-servers", kafka, "--out", str(folder / "out")]
    with command(["demo", "--lora", *given], folder / "said") as demo:
        assert demo.wait(_DEMO_S) == 0, demo.output
        assert demo.children() == []
    return folder / "out"


@pytest.fixture(scope="module")
def told(out: Path) -> dict[str, Any]:
    summary: dict[str, Any] = orjson.loads((out / "summary.json").read_bytes())
    text_reward: dict[str, Any] = summary["text_reward"]
    return text_reward


def versions_of_runs(out: Path) -> list[list[int | None]]:
    """Which adapter scored each candidate's prompt, by its trace."""
    return [
        [
            next((r.extra["version"] for r in event.critic_results if r.critic_name == "lora_rm"), None)
            for event in read_trace(run / "trace.jsonl")
            if isinstance(event, TraceEvent)
        ]
        for run in sorted((out / "runs").iterdir())
    ]


def test_a_running_run_took_up_an_adapter_that_was_trained_meanwhile(out: Path, told: dict[str, Any]) -> None:
    changed = [versions for versions in versions_of_runs(out) if len(set(versions)) > 1]
    assert changed
    assert told["runs_that_swapped"] == len(changed)
    assert all(versions == sorted(versions, key=lambda v: v or 0) for versions in changed)


def test_the_prompts_that_each_adapter_scored_are_counted(out: Path, told: dict[str, Any]) -> None:
    scored = [version for versions in versions_of_runs(out) for version in versions if version is not None]
    assert {a["version"]: a["scored"] for a in told["adapters"] if a["scored"]} == {
        version: scored.count(version) for version in set(scored)
    }


def test_the_published_adapter_is_in_the_demos_folder(out: Path) -> None:
    assert "version 1 (afresh" in (out / "lora.log").read_text()
    (folder, *_) = sorted((out / "adapters" / "default").iterdir())
    assert {"adapter_model.safetensors", "reward.json"} <= {path.name for path in folder.iterdir()}


def test_the_report_tells_of_every_adapter(out: Path, told: dict[str, Any]) -> None:
    report = (out / "report.html").read_text()
    assert "A text reward, trained beside the runs" in report
    assert told["adapters"]
    assert all(f"<td>{adapter['train_pairs']}</td>" in report for adapter in told["adapters"])


def test_a_base_model_that_reads_too_few_tokens_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny_base(tmp_path / "bert", "bert")
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--lora", "--base-model", str(base), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "the base model reads at most 48 tokens" in capsys.readouterr().err


def test_a_base_model_without_lora_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--base-model", "bert", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "--base-model is for --lora" in capsys.readouterr().err
