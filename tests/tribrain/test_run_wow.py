"""``run-wow`` from the command line, on stand-ins for WoW's programs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.video import read_video
from runner.worlds.wow.names import MODELS, ModelName
from streams.messages.contracts import RunEnd
from streams.messages.files import read_trace
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout
from tests.tribrain.processes import command, needs_proc
from tests.tribrain.test_run_commands import events_of, tribrain
from tests.waiting import wait_until

every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture
def wow(tmp_path: Path) -> FakeWow:
    return fake_checkout(tmp_path / "WoW")


def words(wow: FakeWow, model: str, prompt: str = "pour the tea") -> list[str]:
    return [
        *("run-wow", "--wow-repo", str(wow.repo), "--model", model, "--image", str(wow.image)),
        *("--wow-python", sys.executable, "--prompt", prompt),
    ]


@every_model
def test_a_run_refines_a_prompt(wow: FakeWow, model: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tribrain(*words(wow, model), "--iters", "2", "--candidates", "2", "--gpus", "0,1", "--out", str(out))
    events = events_of(out)
    assert [event.overall_score for event in events].count(None) == 0
    assert len({event.prompt for event in events}) > 1
    for event in events:
        assert event.meta["context"] == {"world_model": f"wow-{model}"}
        assert len(read_video(out / event.artifact_path)[0]) == 8
    (end,) = (message for message in read_trace(out / "trace.jsonl") if isinstance(message, RunEnd))
    assert end.stop_reason == "max_iters"


def test_a_run_goes_on_however_its_paths_are_spelt_and_not_with_another_checkout(
    wow: FakeWow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    (tmp_path / "link").symlink_to(wow.repo)
    fake_checkout(tmp_path / "second" / "WoW")
    monkeypatch.chdir(tmp_path)

    def run(repo: str, image: str, code: int = 0) -> None:
        spelt = [
            {str(wow.repo): repo, str(wow.image): image}.get(word, word) for word in words(wow, "dit-7b")
        ]
        tribrain(*spelt, "--iters", "1", "--out", "run", code=code)

    for repo, image in (("WoW", "first.png"), (str(wow.repo), "./first.png"), ("link/", str(wow.image))):
        run(repo, image)
    assert len(wow.calls("film")) == 1
    run("second/WoW", "first.png", code=2)
    assert f"holds a run with wow_repo '{wow.repo.resolve()}' rather than " in capfd.readouterr().err


def test_dit_2b_is_loaded_once_for_each_seed_of_a_step(wow: FakeWow, tmp_path: Path) -> None:
    """A step's prompts share a seed, and a prompt that comes again has another."""
    out = tmp_path / "run"
    tribrain(*words(wow, "dit-2b"), "--iters", "1", "--candidates", "3", "--out", str(out))
    seeds = {event.meta["generation_seed"] for event in events_of(out)}
    assert len(wow.calls("dit-2b")) == len(seeds) < 3


def test_a_reward_model_steers_the_run(wow: FakeWow, tmp_path: Path) -> None:
    first, model = tmp_path / "a", tmp_path / "bt_reward.json"
    tribrain(*words(wow, "dit-2b"), "--iters", "2", "--candidates", "2", "--out", str(first))
    tribrain(
        "export-preference-pairs", "--run-dir", str(first), "--out", str(tmp_path / "p"), "--min-gap", "0"
    )
    tribrain("train-preference-rm", "--pairs", str(tmp_path / "p"), "--out", str(model))
    steered = tmp_path / "b"
    preference = ("--preference-rm", str(model), "--preference-weight", "0.25")
    tribrain(*words(wow, "dit-2b"), "--iters", "2", *preference, "--out", str(steered))
    assert events_of(steered)[1].meta["preference_prob"] is not None


def test_a_run_in_which_every_candidate_fails_is_recorded(wow: FakeWow, tmp_path: Path) -> None:
    out = tmp_path / "run"
    tribrain(*words(wow, "dit-7b", "tea [reject]"), "--iters", "2", "--out", str(out), code=4)
    assert all("left no video" in event.meta["error"] for event in events_of(out))


@pytest.mark.parametrize(
    ("model", "options", "loads"),
    [("dit-2b", ("--candidates", "4"), 3), ("wan-14b", ("--candidates", "8", "--max-failures", "2"), 2)],
)
def test_a_model_that_does_not_load_ends_the_run_within_its_first_step(
    wow: FakeWow, tmp_path: Path, model: ModelName, options: tuple[str, ...], loads: int
) -> None:
    wow.break_down(model)
    tribrain(*words(wow, model), *options, "--out", str(tmp_path / "run"), code=4)
    assert len(wow.calls("load")) == loads


def test_its_progress_is_on_standard_error(wow: FakeWow, tmp_path: Path, capfd: Any) -> None:
    tribrain(*words(wow, "dit-7b"), "--iters", "1", "--out", str(tmp_path / "run"))
    assert "iter_00: " in capfd.readouterr().err


@needs_proc
@every_model
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_every_process_and_records_the_run(
    wow: FakeWow, model: str, number: signal.Signals, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    hangs = words(wow, model, "tea [hang]")
    with command([*hangs, "--candidates", "2", "--gpus", "0,1", "--out", str(out)], tmp_path / "said") as run:
        wait_until(lambda: len(wow.calls("hangs")) == 2, 60)
        wait_until(lambda: len(run.started("hanging worker")) == 2, 60)
        run.process.send_signal(number)
        assert run.wait(30) == 130
        assert run.children() == []
    (end,) = read_trace(out / "trace.jsonl")
    assert isinstance(end, RunEnd)
    assert end.stop_reason == "interrupted"


def test_what_is_missing_is_one_line_and_nothing_is_written(wow: FakeWow, tmp_path: Path, capfd: Any) -> None:
    from tribrain.cli import main

    (wow.checkout.dit_2b / "checkpoints" / "wow_dit_2b.pt").unlink()
    wow.image.unlink()
    with pytest.raises(SystemExit) as ended:
        main([*words(wow, "dit-2b"), "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert "wow_dit_2b.pt is missing" in said
    assert "first.png is missing" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
