"""``run-suite`` on stand-ins for WoW's programs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import orjson
import pytest

from runner.worlds.wow.names import MODELS
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout
from tests.tribrain.processes import command
from tests.tribrain.test_run_commands import events_of, tribrain
from tribrain.cli import main


@pytest.fixture
def wow(tmp_path: Path) -> FakeWow:
    return fake_checkout(tmp_path / "WoW")


def words(wow: FakeWow, model: str, out: Path) -> list[str]:
    """Two prompts, whose image has another extension than their file says."""
    prompts = out.parent / "prompts.jsonl"
    image = str(wow.image.with_suffix(".gif"))
    lines = [
        {"index": n, "image": image, "generated_description": goal}
        for n, goal in enumerate(("pour the tea", "fold the towel"))
    ]
    prompts.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return [
        *("run-suite", "--prompts", str(prompts), "--out", str(out), "--suite-id", "w", "--world", "wow"),
        *("--wow-repo", str(wow.repo), "--model", model, "--wow-python", sys.executable),
        *("--gpus", "0,1", "--candidates", "2", "--iters", "1"),
    ]


@pytest.mark.parametrize("model", MODELS)
def test_each_model_of_wow_runs_a_suite(wow: FakeWow, model: str, tmp_path: Path) -> None:
    out = tmp_path / "suite"
    tribrain(*words(wow, model, out))
    for n in range(2):
        events = events_of(out / "runs" / f"w-{n:08d}")
        assert [event.overall_score for event in events].count(None) == 0
        assert events[0].meta["context"] == {"world_model": f"wow-{model}"}


def test_a_suite_goes_on_however_the_checkout_is_spelt(
    wow: FakeWow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for spelt in (str(wow.repo), "WoW/", "./WoW"):
        tribrain(*(spelt if word == str(wow.repo) else word for word in words(wow, "dit-7b", tmp_path / "s")))
    assert len(wow.calls("film")) == 4


def test_a_pipeline_is_loaded_once_per_gpu_for_a_whole_suite(wow: FakeWow, tmp_path: Path) -> None:
    tribrain(*words(wow, "wan-14b", tmp_path / "suite"))
    assert len(wow.calls("wan-14b")) == 2


def test_a_killed_suite_of_wow_makes_no_finished_video_again(wow: FakeWow, tmp_path: Path) -> None:
    out = tmp_path / "suite"
    arguments = words(wow, "dit-7b", out)
    with command(arguments, tmp_path / "said", TRIBRAIN_FAIL_POINT="world.kept:2") as run:
        assert run.wait(120) == -signal.SIGKILL, run.output
    assert len(wow.calls("dit-7b")) == 2
    tribrain(*arguments)
    assert len(wow.calls("dit-7b")) == 4


@pytest.mark.parametrize("model", MODELS)
def test_a_first_frame_that_the_model_does_not_read_is_said_before_the_first_video(
    wow: FakeWow, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(wow, model, tmp_path / "suite")
    (wow.image.parent / "second.TXT").write_bytes(wow.image.read_bytes())
    prompts = tmp_path / "prompts.jsonl"
    first, second = prompts.read_bytes().splitlines()
    lines = [first, second.replace(wow.image.stem.encode() + b".gif", b"second.TXT")]
    assert lines[1] != second
    prompts.write_bytes(b"\n".join(lines))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"second.TXT ends in .TXT, which {model} does not read" in capsys.readouterr().err
    assert wow.calls("film") == []
    assert not (tmp_path / "suite").exists()


def test_a_checkout_that_lacks_something_is_said_before_anything_is_written(
    wow: FakeWow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (wow.checkout.dit_2b / "checkpoints" / "wow_dit_2b.pt").unlink()
    with pytest.raises(SystemExit) as ended:
        main(words(wow, "dit-2b", tmp_path / "suite"))
    assert ended.value.code == 2
    assert "wow_dit_2b.pt is missing" in capsys.readouterr().err
    assert not (tmp_path / "suite").exists()
