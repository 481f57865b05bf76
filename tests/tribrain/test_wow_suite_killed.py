"""``run-suite`` on stand-ins for WoW's programs, killed while a step's videos are in the making."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.worlds.wow.names import MODELS
from streams.messages.codec import encode
from streams.messages.files import read_trace
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout
from tests.tribrain.processes import Command, command, needs_proc
from tests.tribrain.test_run_commands import tribrain
from tests.waiting import wait_until
from tribrain.cli import main

GOALS = ("pour the tea", "fold the towel")
GPUS = {"dit-2b": "0", "dit-7b": "0,1", "wan-14b": "0,1", "wan-1.3b": "0,1"}
"""So that dit-2b makes three of a step's four videos in one process: the fourth's prompt comes twice."""
every_model = pytest.mark.parametrize(
    "model", [pytest.param(model, marks=pytest.mark.long if model == "dit-7b" else ()) for model in MODELS]
)
one_a_process_and_several = pytest.mark.parametrize("model", ["wan-14b", "dit-2b"])
"""A process makes one video, or several."""
pytestmark = needs_proc


@pytest.fixture
def wow(tmp_path: Path) -> FakeWow:
    return fake_checkout(tmp_path / "WoW")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By model the events of a suite that nothing ended."""
    found: dict[str, list[dict[str, Any]]] = {}
    for model in MODELS:
        folder = tmp_path_factory.mktemp(model)
        tribrain(*words(fake_checkout(folder / "WoW"), model, folder / "suite"))
        found[model] = events(folder / "suite")
        assert endings(found[model]) == [None] * 4
    return found


def words(wow: FakeWow, model: str, out: Path, goals: tuple[str, ...] = GOALS[:1], *more: str) -> list[str]:
    prompts = out.parent / "prompts.jsonl"
    lines = [
        {"index": n, "image": wow.image.name, "generated_description": goal} for n, goal in enumerate(goals)
    ]
    prompts.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return [
        *("run-suite", "--prompts", str(prompts), "--out", str(out), "--suite-id", "w", "--world", "wow"),
        *("--wow-repo", str(wow.repo), "--model", model, "--wow-python", sys.executable),
        *("--gpus", GPUS[model], "--candidates", "4", "--iters", "1", "--seed", "1", *more),
    ]


def events(out: Path) -> list[dict[str, Any]]:
    """But for times."""
    found: list[dict[str, Any]] = [
        orjson.loads(encode(message))
        for path in sorted(out.glob("runs/*/trace.jsonl"))
        for message in read_trace(path)
    ]
    for event in found:
        event["meta"].pop("iter_time_s", None)
    return found


def endings(found: list[dict[str, Any]]) -> list[str | None]:
    """How the generators of the videos ended; taken out of the events."""
    return [e["meta"]["generation"].pop("ending", None) for e in found if "overall_score" in e]


def films(wow: FakeWow) -> Counter[tuple[str, int]]:
    return Counter((call["prompt"], call["seed"]) for call in wow.calls("film"))


def assert_each_is_made_once(wow: FakeWow, n: int = 4) -> None:
    assert (len(films(wow)), set(films(wow).values())) == (n, {1})


def held_up(wow: FakeWow, model: str) -> int:
    """Wait until all that are at work are held up; the id of one of their processes."""
    wait_until(lambda: len(wow.calls("held up")) == len(GPUS[model].split(",")), 120)
    pid: int = wow.calls("held up")[0]["pid"]
    return pid


def kill_alone(run: Command) -> None:
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()


def is_alive(pid: int) -> bool:
    """A zombie has no environment any more."""
    try:
        return bool(Path(f"/proc/{pid}/environ").read_bytes())
    except OSError:
        return False


@every_model
@pytest.mark.parametrize("how", ["before", "half"])
def test_of_a_step_that_was_killed_with_its_generators_only_the_videos_that_were_not_finished_are_made(
    wow: FakeWow, model: str, how: str, tmp_path: Path, uninterrupted: dict[str, list[dict[str, Any]]]
) -> None:
    arguments = words(wow, model, tmp_path / "suite")
    wow.hold(how, after=2)
    with command(arguments, tmp_path / "said") as run:
        held_up(wow, model)
        run.kill_everything()
    assert len(wow.calls("film")) == 2
    assert [len(batch["items"]) for batch in wow.calls("batch")] == [3] * (model == "dit-2b")
    wow.release()
    tribrain(*arguments)
    assert_each_is_made_once(wow)
    found = events(tmp_path / "suite")
    assert Counter(endings(found)) == {"was at work for a process that was ended": 2, None: 2}
    assert found == uninterrupted[model]
    for folder in (tmp_path / "suite" / "runs" / "w-00000000").glob("iter_*"):
        left = sorted(path.name for path in folder.iterdir())
        assert left == ["generation.json", "generator.log", "video.mp4"]
        assert "3/3" in (folder / "generator.log").read_text() or model == "wan-14b"
        assert not (folder / "generator.log").is_symlink()


@one_a_process_and_several
def test_generators_that_a_killed_suite_left_behind_are_ended_and_no_video_is_made_twice(
    wow: FakeWow, model: str, tmp_path: Path
) -> None:
    arguments = words(wow, model, tmp_path / "suite")
    wow.hold("before", after=2)
    with command(arguments, tmp_path / "said") as run:
        orphan = held_up(wow, model)
        assert is_alive(orphan)
        kill_alone(run)
        wow.release()
        tribrain(*arguments)
        assert not is_alive(orphan)
        assert run.children() == []
    assert_each_is_made_once(wow)


@pytest.mark.parametrize("model", ["dit-2b", "dit-7b"])
def test_what_a_generator_finished_after_the_suite_was_killed_is_taken(
    wow: FakeWow, model: str, tmp_path: Path
) -> None:
    """wan-14b's ends with its suite."""
    arguments = words(wow, model, tmp_path / "suite")
    wow.hold("until", after=2)
    with command(arguments, tmp_path / "said") as run:
        held_up(wow, model)
        kill_alone(run)
        wow.release()
        wait_until(lambda: not run.children(), 60)
        before = len(wow.calls("film"))
        tribrain(*arguments)
    assert before == (3 if model == "dit-2b" else 4)
    assert_each_is_made_once(wow)
    taken = Counter(endings(events(tmp_path / "suite")))
    assert taken["was at work for a process that was ended"] == before


@one_a_process_and_several
def test_a_step_whose_videos_nobody_had_noted_yet_is_not_made_again(
    wow: FakeWow, model: str, tmp_path: Path, uninterrupted: dict[str, list[dict[str, Any]]]
) -> None:
    arguments = words(wow, model, tmp_path / "suite")
    with command(arguments, tmp_path / "said", TRIBRAIN_FAIL_POINT="world.generated:1") as run:
        assert run.wait(120) == -signal.SIGKILL, run.output
    assert len(wow.calls("film")) == 4
    tribrain(*arguments)
    assert_each_is_made_once(wow)
    found = events(tmp_path / "suite")
    endings(found)
    assert found == uninterrupted[model]


@one_a_process_and_several
def test_a_suite_that_a_time_limit_ended_makes_no_finished_video_again(
    wow: FakeWow, model: str, tmp_path: Path
) -> None:
    arguments = words(wow, model, tmp_path / "suite")
    wow.hold("before", after=2)
    with command(arguments, tmp_path / "said") as run:
        held_up(wow, model)
        run.process.send_signal(signal.SIGTERM)
        assert run.wait(60) == 130
        assert run.children() == []
    wow.release()
    tribrain(*arguments)
    assert_each_is_made_once(wow)


@one_a_process_and_several
def test_a_shard_leaves_the_generators_of_another_one_at_work(
    wow: FakeWow, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "suite"
    wow.hold("until", prompt=GOALS[0])
    with command(words(wow, model, out, GOALS, "--shard", "1/2"), tmp_path / "said") as run:
        at_work = held_up(wow, model)
        tribrain(*words(wow, model, out, GOALS, "--shard", "2/2"))
        assert is_alive(at_work)
        wow.release()
        assert run.wait(120) == 0, run.output
    assert_each_is_made_once(wow, 8)
    assert endings(events(out)) == [None] * 8


def test_a_generator_left_behind_on_another_machine_is_named_and_nothing_is_made(
    wow: FakeWow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(wow, "dit-2b", tmp_path / "suite")
    wow.hold("before", after=2)
    with command(arguments, tmp_path / "said") as run:
        orphan = held_up(wow, "dit-2b")
        kill_alone(run)
        (lock, *_) = sorted(tmp_path.glob("suite/runs/*/iter_00/generator.lock"))
        lock.write_text(lock.read_text().replace(os.uname().nodename, "node-3"))
        wow.release()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert is_alive(orphan)
    assert f"process group {orphan} on node-3 is still running; end it there first" in capsys.readouterr().err
    assert len(wow.calls("dit-2b")) == 1
