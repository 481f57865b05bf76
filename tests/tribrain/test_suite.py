"""``run-suite`` as its users run it: real processes, killed for real, and what they leave."""

from __future__ import annotations

import shlex
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest

from runner.loop.controller import ThompsonController
from runner.loop.shared_controller import BEGUN
from runner.video import write_video
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import encode
from streams.messages.files import read_trace
from tests.tribrain.demo_files import write_demo
from tests.tribrain.processes import command, needs_proc
from tests.waiting import wait_until
from tribrain.cli import main
from tribrain.demo.report import build_report
from tribrain.run.critics import PIXELS_ALONE

GOALS = ("move the red cube to the bowl", "move the blue ball to the green bowl", "pour the tea")
# Counts each call, and takes one of four videos by its seed. Where it is told to, it waits for ever before
# that, or has more to do afterwards for as long as it is told so.
GENERATOR = """
import pathlib, shutil, sys, threading
folder = pathlib.Path(__file__).parent
prompt, out_dir, seed, image = sys.argv[1:]
out = pathlib.Path(out_dir)
with open(folder / "calls", "a") as calls:
    print(out.parent.name[-8:], out.name, pathlib.Path(image).name, file=calls)
if (folder / "wait").exists():
    (out / "half.mp4").write_bytes(b"half")
    threading.Event().wait()
shutil.copy(folder / f"video-{int(seed) % 4}.mp4", out / "video.mp4")
while (folder / "linger").exists():
    (folder / "lingers").touch()
    threading.Event().wait(0.02)
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator, its videos, and a file of prompts with images."""
    folder = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(0)
    for n in range(4):
        frames = np.repeat(rng.integers(0, 255, (8, 6, 6, 3), np.uint8), 8, axis=1).repeat(8, axis=2)
        write_video(folder / f"video-{n}.mp4", frames, 8.0)
    (folder / "gen.py").write_text(GENERATOR)
    for n, name in enumerate(("frame-0.webp", "frame-1.png", "frame-2.png")):
        cv2.imwrite(str(folder / name), np.full((48, 64, 3), n, np.uint8))
    lines = [
        {"index": n, "image": f"frame-{n}.png", "generated_description": goal, "original_lang": ""}
        for n, goal in enumerate(GOALS)
    ]
    (folder / "prompts.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return folder


@pytest.fixture
def calls(bench: Path) -> Path:
    """Where the generator writes its calls; empty."""
    (bench / "calls").write_text("")
    return bench / "calls"


@contextmanager
def waiting(bench: Path, name: str = "wait") -> Iterator[None]:
    """The generator waits for ever or, by "linger", once its video is there."""
    (bench / name).touch()
    try:
        yield
    finally:
        (bench / name).unlink()
        (bench / "lingers").unlink(missing_ok=True)


def suite(bench: Path, out: Path, *options: str) -> list[str]:
    generator = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(bench / 'gen.py'))}"
    return [
        *("run-suite", "--prompts", str(bench / "prompts.jsonl"), "--out", str(out), "--suite-id", "bench"),
        *("--world", "subprocess", "--cmd", generator + " {prompt} {out_dir} {seed} {image}", "--iters", "2"),
        *options,
    ]


def simulated(bench: Path, out: Path, *options: str) -> list[str]:
    prompts = str(bench / "prompts.jsonl")
    return [
        "run-suite",
        "--prompts",
        prompts,
        "--out",
        str(out),
        "--world",
        "simulated",
        "--iters",
        "2",
        *options,
    ]


def done(arguments: Sequence[str], code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code


def traces(out: Path) -> dict[str, list[Any]]:
    """By run, but for times."""
    found = {}
    for path in sorted(out.glob("runs/*/trace.jsonl")):
        found[path.parent.name] = [orjson.loads(encode(message)) for message in read_trace(path)]
        for line in found[path.parent.name]:
            line["meta"].pop("iter_time_s", None)
    return found


def summary_of(out: Path) -> Any:
    return orjson.loads((out / "summary.json").read_bytes())


@pytest.fixture(scope="module")
def uninterrupted(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    out = tmp_path_factory.mktemp("whole") / "suite"
    done(suite(bench, out, "--candidates", "2"))
    return traces(out)


def test_each_prompt_has_a_run_with_its_image_and_an_id_made_of_its_index(
    bench: Path, tmp_path: Path, calls: Path
) -> None:
    done(suite(bench, tmp_path / "s"))
    found = traces(tmp_path / "s")
    assert {run: lines[0]["prompt"] for run, lines in found.items()} == {
        f"bench-{n:08d}": goal for n, goal in enumerate(GOALS)
    }
    assert calls.read_text().splitlines() == [
        f"{n:08d} iter_0{i} {image}"
        for n, image in enumerate(("frame-0.webp", "frame-1.png", "frame-2.png"))
        for i in range(2)
    ]


# In the order in which a run comes by them; each process is killed at its place, and the next one goes on.
PLACES = (
    "world.generated:1",  # the program has ended, and nobody has noted its video
    "world.kept:1",
    "world.kept:1",  # the second candidate of the step
    "record.written:1",
    "record.written:2",
    "record.pushed:3",
    "world.kept:2",
    "record.written:3",
    "suite.run-recorded:1",
    "suite.run-finished:1",
    "record.pushed:5",
    "suite.run-recorded:1",
)


def test_a_suite_that_is_killed_again_and_again_makes_each_candidate_once_and_the_same_traces(
    bench: Path, tmp_path: Path, calls: Path, uninterrupted: dict[str, list[Any]]
) -> None:
    arguments = suite(bench, tmp_path / "s", "--candidates", "2")
    for n, place in enumerate(PLACES):
        with command(arguments, tmp_path / f"said-{n}", TRIBRAIN_FAIL_POINT=place) as run:
            assert run.wait(120) == -signal.SIGKILL, (place, run.output)
    done(arguments)
    assert traces(tmp_path / "s") == uninterrupted
    assert set(Counter(calls.read_text().splitlines()).values()) == {1}
    assert len(calls.read_text().splitlines()) == 3 * 2 * 2


@needs_proc
def test_a_video_in_the_making_is_begun_anew_and_no_other(
    bench: Path, tmp_path: Path, calls: Path, uninterrupted: dict[str, list[Any]]
) -> None:
    arguments = suite(bench, tmp_path / "s", "--candidates", "2")
    with command(arguments, tmp_path / "first", TRIBRAIN_FAIL_POINT="suite.run-finished:1") as run:
        run.wait(120)
    with waiting(bench), command(arguments, tmp_path / "said") as run:
        wait_until(lambda: calls.read_text().count("\n") == 5, 60)
    done(arguments)
    assert traces(tmp_path / "s") == uninterrupted
    twice = [call for call, n in Counter(calls.read_text().splitlines()).items() if n > 1]
    assert twice == ["00000001 iter_00 frame-1.png"]


@needs_proc
def test_a_generator_that_a_killed_suite_left_behind_is_ended_before_another_one_is_started(
    bench: Path, tmp_path: Path, calls: Path, uninterrupted: dict[str, list[Any]]
) -> None:
    arguments = suite(bench, tmp_path / "s", "--candidates", "2")
    with command(arguments, tmp_path / "said") as run:
        with waiting(bench):
            wait_until(calls.read_text, 60)
            run.process.kill()
            run.process.wait()
        assert run.started("-S")
        done(arguments)
        assert run.children() == []
    assert traces(tmp_path / "s") == uninterrupted


@needs_proc
def test_a_generator_that_outlives_its_suite_and_ends_well_is_not_started_again(
    bench: Path, tmp_path: Path, calls: Path, uninterrupted: dict[str, list[Any]]
) -> None:
    arguments = suite(bench, tmp_path / "s", "--candidates", "2")
    with command(arguments, tmp_path / "said") as run:
        with waiting(bench, "linger"):
            wait_until((bench / "lingers").exists, 60)
            run.process.kill()
            run.process.wait()
        wait_until(lambda: not run.children(), 60)
    done(arguments)
    assert traces(tmp_path / "s") == uninterrupted
    assert set(Counter(calls.read_text().splitlines()).values()) == {1}


@needs_proc
def test_a_whole_video_of_a_program_that_was_killed_before_its_end_is_made_again(
    bench: Path, tmp_path: Path, calls: Path, uninterrupted: dict[str, list[Any]]
) -> None:
    """It may have been a draft."""
    arguments = suite(bench, tmp_path / "s", "--candidates", "2")
    with waiting(bench, "linger"), command(arguments, tmp_path / "said") as run:
        wait_until((bench / "lingers").exists, 60)
        run.kill_everything()
    done(arguments)
    assert traces(tmp_path / "s") == uninterrupted
    twice = [call for call, n in Counter(calls.read_text().splitlines()).items() if n > 1]
    assert twice == ["00000000 iter_00 frame-0.webp"]


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_suite_leaves_no_process_and_goes_on(
    bench: Path, tmp_path: Path, calls: Path, number: signal.Signals, uninterrupted: dict[str, list[Any]]
) -> None:
    arguments = suite(bench, tmp_path / "s", "--candidates", "2")
    with waiting(bench), command(arguments, tmp_path / "said") as run:
        wait_until(lambda: run.started("-S"), 60)
        run.process.send_signal(number)
        assert run.wait(30) == 130
        assert run.children() == []
    done(arguments)
    assert traces(tmp_path / "s") == uninterrupted


def test_the_shards_together_are_the_suite(
    bench: Path, tmp_path: Path, uninterrupted: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prompt once; they differ in what the controller had learnt when a run began."""
    for shard, finished in (("2/2", 1), ("1/2", 3)):
        done(suite(bench, tmp_path / "s", "--candidates", "2", "--shard", shard, "--json"))
        assert orjson.loads(capsys.readouterr().out)["finished"] == finished
    assert traces(tmp_path / "s").keys() == uninterrupted.keys()


def test_the_runs_of_a_suite_teach_one_controller(bench: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    done(simulated(bench, out, "--suite-id", "x"))
    learnt = ThompsonController.load(out / "controller.json")
    begun = [ThompsonController.load(out / "runs" / run / BEGUN).rounds for run, _ in learnt.runs]
    assert begun == [sum(n for _, n in learnt.runs[:i]) for i in range(3)]
    assert begun[1] > 0


def test_a_finished_suite_is_not_made_again(bench: Path, tmp_path: Path, calls: Path) -> None:
    for _ in range(2):
        done(suite(bench, tmp_path / "s"))
    assert len(calls.read_text().splitlines()) == 6


def test_a_run_that_another_process_works_on_is_refused(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = suite(bench, tmp_path / "s")
    with waiting(bench), command(arguments, tmp_path / "said") as run:
        wait_until(lambda: run.started("-S"), 60)
        done(arguments, 2)
    assert "another suite run is at work on it" in capsys.readouterr().err


def test_one_run_is_told_of_in_the_singular(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.jsonl").write_text((bench / "prompts.jsonl").read_text().splitlines()[0])
    for image in bench.glob("frame-*"):
        shutil.copy(image, tmp_path)
    done(simulated(tmp_path, tmp_path / "s"))
    assert "1 of 1 run finished; " in capsys.readouterr().out
    assert "of 1 run a later video" in (tmp_path / "s" / "report.html").read_text()


def test_summary_table_and_report_tell_the_same(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s"
    done(simulated(bench, out, "--shard", "1/2"))
    said = capsys.readouterr()
    summary = orjson.loads((out / "summary.json").read_bytes())
    assert (summary["finished"], summary["n_tasks"], summary["videos"]) == (2, 3, 4)
    assert [run["index"] for run in summary["runs"]] == [0, 2]
    first = summary["mean_first_score"]
    assert f"2 of 3 runs finished; critics' score {first:.3f} of the first" in said.out
    assert f"{summary['runs'][1]['best_score']:.3f}" in said.out.splitlines()[2]
    ids = [run["run_id"] for run in summary["runs"]]
    begins = [
        f"{begin}: {what}"
        for n, run in enumerate(ids, start=1)
        for begin, what in (
            (run, "iteration 0: critics' score 0."),
            (run, "iteration 1"),
            (f"{n}/2  {run}", "2 i"),
        )
    ]
    *of_runs, last = said.err.splitlines()
    assert last == PIXELS_ALONE
    assert all(line.startswith(begin) for line, begin in zip(of_runs, begins, strict=True))
    page = (out / "report.html").read_text()
    assert "Not finished: 1 of 3 runs" in page
    assert all(goal in page for goal in (GOALS[0], GOALS[2]))
    assert GOALS[1] not in page
    assert page.count('aria-label="Best video"') == 2
    assert all(f"<b>{run['best_score']:.2f}</b>" in page for run in summary["runs"])


def test_report_makes_the_page_of_a_suite_again(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done(simulated(bench, tmp_path / "s"))
    before = (tmp_path / "s" / "report.html").read_bytes()
    (tmp_path / "s" / "report.html").unlink()
    capsys.readouterr()
    done(["report", str(tmp_path / "s"), "--json"])
    assert orjson.loads(capsys.readouterr().out)["runs"] == 3
    assert (tmp_path / "s" / "report.html").read_bytes() == before


def test_json_is_the_summary_and_nothing_else(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done(simulated(bench, tmp_path / "s", "--json"))
    said = capsys.readouterr()
    assert orjson.loads(said.out) == orjson.loads((tmp_path / "s" / "summary.json").read_bytes())
    assert said.err == f"{PIXELS_ALONE}\n"


def test_a_suite_begins_with_the_given_controller_which_stays_as_it_is(bench: Path, tmp_path: Path) -> None:
    state = tmp_path / "controller.json"
    ThompsonController().save(state)
    before = state.read_bytes()
    for name, given in (("a", ()), ("b", ("--controller", str(state)))):
        done(simulated(bench, tmp_path / name, "--suite-id", "x", *given))
    assert traces(tmp_path / "a") == traces(tmp_path / "b")
    assert state.read_bytes() == before


def test_critics_of_the_user_take_part(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import json; print(json.dumps(dict(task=0.25)))"
    critic = f"judge={shlex.quote(sys.executable)} -c {shlex.quote(script)} {{video}}"
    out = tmp_path / "s"
    done(simulated(bench, out, "--critic", critic, "--critic", "broken=false {video}", "--shard", "1/3"), 4)
    (lines,) = traces(out).values()
    judged, failed = zip(*(line["critic_results"][-2:] for line in lines[:-1]), strict=True)
    assert [result["scores"] for result in judged] == [{"task": 0.25}] * 2
    assert [result["notes"] for result in failed] == ["missing: the critic ended with status 1"] * 2
    assert orjson.loads((out / "summary.json").read_bytes())["missing_critics"] == {"broken": 2}
    assert "critic broken gave no score for 2 of 2 videos; at last: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("--seed", "1"), "seed 0 rather than 1"),
        (("--iters", "3"), "iters 2 rather than 3"),
        (("--suite-id", "other"), "name 'bench' rather than 'other'"),
        (("--critic", "a=true {video}"), "critics [] rather than ['a=true {video}']"),
        (("--bootstrap-servers", "127.0.0.1:1"), "published False rather than True"),
    ],
)
def test_a_suite_goes_on_only_as_what_it_was(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Sequence[str], complaint: str
) -> None:
    begun = simulated(bench, tmp_path / "s", "--suite-id", "bench", "--shard", "3/3")
    done(begun)
    capsys.readouterr()
    name, value = change
    if name in begun:
        begun[begun.index(name) + 1] = value
    else:
        begun += change
    done(begun, 2)
    assert complaint in capsys.readouterr().err


def changed(bench: Path, out: Path, change: Callable[[list[bytes]], list[bytes]]) -> list[str]:
    """A suite in ``out`` that was begun, as the command that goes on with other prompts."""
    prompts = out.with_suffix(".jsonl")
    prompts.write_bytes((bench / "prompts.jsonl").read_bytes())
    begun = [str(prompts) if word.endswith("prompts.jsonl") else word for word in simulated(bench, out)]
    done([*begun, "--shard", "3/3"])
    prompts.write_bytes(b"\n".join(change(prompts.read_bytes().splitlines())))
    return begun


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda lines: [lines[0], lines[1].replace(b'description":"', b'description":"no '), lines[2]],
            f"index 1 {GOALS[1]!r} rather than {'no ' + GOALS[1]!r}; go on",
        ),
        (lambda lines: lines[1:], f"index 0 {GOALS[0]!r} rather than no prompt; go on"),
        (
            lambda lines: [*lines[1:], lines[0].replace(b'"index":0', b'"index":7')],
            f"index 0 {GOALS[0]!r} rather than no prompt and 1 other prompt; go on",
        ),
        (lambda lines: lines[::-1], "the same prompts in another order"),
    ],
    ids=["changed", "gone", "two", "order"],
)
def test_a_suite_whose_prompts_changed_says_which(
    bench: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[list[bytes]], list[bytes]],
    complaint: str,
) -> None:
    done(changed(bench, tmp_path / "s", change), 2)
    assert f"holds a suite with {complaint}" in capsys.readouterr().err


def test_a_suite_of_an_earlier_version_whose_prompts_changed_is_not_gone_on_with(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = changed(bench, tmp_path / "s", lambda lines: lines[1:])
    plan = orjson.loads((tmp_path / "s" / "suite.json").read_bytes())
    del plan["contents"]
    (tmp_path / "s" / "suite.json").write_bytes(orjson.dumps(plan))
    done(command, 2)
    assert "holds a suite with other prompts; go on" in capsys.readouterr().err


def test_a_missing_image_is_said_before_anything_is_generated(
    bench: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench / "frame-2.png").rename(bench / "elsewhere.png")
    try:
        done(suite(bench, tmp_path / "s"), 2)
    finally:
        (bench / "elsewhere.png").rename(bench / "frame-2.png")
    assert (
        "1 of 3 images missing, also with another extension: frame-2.png (index 2)" in capsys.readouterr().err
    )
    assert calls.read_text() == ""
    assert not (tmp_path / "s").exists()


def test_images_that_cannot_be_decoded_are_said_before_anything_is_generated(
    bench: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bench, tmp_path / "bench")
    (tmp_path / "bench" / "frame-1.png").write_text("no image")
    (tmp_path / "bench" / "frame-2.png").write_bytes(b"")
    done(suite(tmp_path / "bench", tmp_path / "s"), 2)
    said = capsys.readouterr().err
    assert "2 of 3 images unusable: index 1: " in said
    assert "frame-2.png: cannot be decoded" in said
    assert calls.read_text() == ""
    assert not (tmp_path / "s").exists()


def test_a_suite_does_not_go_on_from_other_first_frames(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bench, tmp_path / "bench")
    done(suite(tmp_path / "bench", tmp_path / "s", "--shard", "1/3"))
    shutil.copy(bench / "frame-1.png", tmp_path / "bench" / "frame-2.png")
    done(suite(tmp_path / "bench", tmp_path / "s", "--shard", "1/3"), 2)
    assert "holds a suite with first_frames 'sha256 " in capsys.readouterr().err


def test_a_world_without_first_frames_needs_no_image(bench: Path, tmp_path: Path, calls: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_bytes(b'{"index": 0, "generated_description": "pour the tea", "image": "nowhere.png"}\n')
    with prompts.open("ab") as file:
        file.write(b'{"index": 1, "generated_description": "fold the towel"}\n')
    given = ["run-suite", "--prompts", str(prompts), "--iters", "1"]
    generator = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(bench / 'gen.py'))}"
    done([*given, "--out", str(tmp_path / "a"), "--world", "simulated"])
    command = generator + " {prompt} {out_dir} {seed} -"
    done([*given, "--out", str(tmp_path / "b"), "--world", "subprocess", "--cmd", command])
    assert len(calls.read_text().splitlines()) == 2


def test_the_image_beside_the_prompts_wins_over_one_in_the_current_folder(
    bench: Path, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("frame-0.jpg", "frame-1.png"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    (bench / "gen.py").write_text(GENERATOR.replace("pathlib.Path(image).name", "image"))
    try:
        done(suite(bench, tmp_path / "s"))
    finally:
        (bench / "gen.py").write_text(GENERATOR)
    given = list(dict.fromkeys(Path(line.split()[-1]) for line in calls.read_text().splitlines()))
    assert given == [bench / name for name in ("frame-0.webp", "frame-1.png", "frame-2.png")]


FAILS = """
import pathlib, sys
with open(pathlib.Path(__file__).parent / "calls", "a") as calls:
    print(pathlib.Path(sys.argv[2]).parent.name[-8:], file=calls)
sys.exit("no checkpoint")
"""


def test_a_suite_is_given_up_after_so_many_failed_runs_and_goes_on_once_that_is_mended(
    bench: Path,
    tmp_path: Path,
    calls: Path,
    uninterrupted: dict[str, list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = suite(bench, tmp_path / "s", "--candidates", "2", "--max-failures", "2")
    (bench / "gen.py").write_text(FAILS)
    try:
        for tries in (1, 2):
            done(arguments, 4)
            assert calls.read_text().splitlines() == ["00000000", "00000000", "00000001", "00000001"] * tries
            last = capsys.readouterr().err.splitlines()[-1]
            assert last.startswith(
                "tribrain: bench: given up, as 2 runs failed, one after the other: bench-00000000, "
                "bench-00000001; at last "
            )
            assert "no checkpoint" in last
            assert last.endswith("; fix that and run the same command again: it continues")
    finally:
        (bench / "gen.py").write_text(GENERATOR)
    done(arguments)
    assert traces(tmp_path / "s") == uninterrupted
    assert "3 of 3 runs finished" in capsys.readouterr().out


def test_a_suite_of_which_nothing_could_be_made_ends_with_code_4(
    bench: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench / "gen.py").write_text(FAILS)
    try:
        done(suite(bench, tmp_path / "s", "--shard", "1/3", "--json"), 4)
    finally:
        (bench / "gen.py").write_text(GENERATOR)
    said = capsys.readouterr()
    assert orjson.loads(said.out)["runs"][0]["failure"]
    assert said.err.startswith("tribrain: bench: nothing could be made: bench-00000000; at last ")


def test_a_run_that_did_not_fail_begins_the_count_of_failed_runs_anew_and_the_failed_ones_are_named(
    bench: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench / "gen.py").write_text(f"import sys\nif '-00000001/' not in sys.argv[2]: sys.exit(1)\n{GENERATOR}")
    try:
        done(suite(bench, tmp_path / "s", "--max-failures", "2"), 4)
    finally:
        (bench / "gen.py").write_text(GENERATOR)
    failed = [run["failure"] != "" for run in summary_of(tmp_path / "s")["runs"]]
    assert failed == [True, False, True]
    assert summary_of(tmp_path / "s")["given_up"] == ["bench-00000000", "bench-00000002"]
    said = capsys.readouterr()
    assert "bench: 1 of 3 runs finished" in said.out
    assert "Failed or given up: 2 of 3 runs, " in (tmp_path / "s" / "report.html").read_text()
    last = said.err.splitlines()[-1]
    assert "2 of 3 runs failed or were given up: bench-00000000, bench-00000002; at last " in last


@pytest.mark.parametrize("iters", ["1", "2"])
def test_a_judge_that_is_down_ends_a_suite_of_short_runs_which_goes_on_once_it_is_up(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], iters: str
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("raise SystemExit(7)")
    critic = f"judge={shlex.join([sys.executable, '-S', str(judge)])} {{video}}"
    arguments = simulated(bench, tmp_path / "s", "--critic", critic, "--max-failures", "2")
    arguments[arguments.index("--iters") + 1] = iters
    done(arguments, 4)
    assert len(traces(tmp_path / "s")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "given up, as 2 runs failed, one after the other: " in last
    assert "; at last critic judge: the critic ended" in last
    judge.write_text("print('{\"task\": 0.5}')")
    done(arguments)
    assert [len(lines) - 1 for lines in traces(tmp_path / "s").values()] == [int(iters)] * 3
    assert summary_of(tmp_path / "s")["missing_critics"] == {}


def test_a_suite_whose_every_run_failed_ends_with_code_4_however_short_it_is(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done(simulated(bench, tmp_path / "s", "--critic", "judge=false {video}", "--shard", "1/2"), 4)
    last = capsys.readouterr().err.splitlines()[-1]
    assert ": every run failed: " in last
    assert "; at last critic judge: the critic ended with status 1" in last


def test_a_run_of_a_suite_that_was_given_up_goes_on_after_a_rescoring(bench: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("raise SystemExit(7)")
    critic = f"judge={shlex.join([sys.executable, '-S', str(judge)])} {{video}}"
    arguments = simulated(bench, tmp_path / "s", "--critic", critic, "--shard", "1/3", "--max-failures", "1")
    done(arguments, 4)
    judge.write_text("print('{\"task\": 0.5}')")
    (run_dir,) = (tmp_path / "s" / "runs").iterdir()
    done(["rescore", str(run_dir), "--critic", critic])
    done(arguments)
    (run,) = summary_of(tmp_path / "s")["runs"]
    assert (run["stop_reason"], run["iterations"], run["missing"]) == ("max_iters", 2, {})


def test_a_suite_says_which_runs_cannot_continue_and_goes_on_with_the_others(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("raise SystemExit(7)")
    critic = f"judge={shlex.join([sys.executable, '-S', str(judge)])} {{video}}"
    arguments = simulated(bench, tmp_path / "s", "--critic", critic, "--max-failures", "1")
    done(arguments, 4)
    judge.write_text("print('{\"task\": 0.5}')")
    (run_dir,) = (tmp_path / "s" / "runs").iterdir()
    done(["rescore", str(run_dir), "--critic", critic.replace("judge=", "other=")])
    capsys.readouterr()
    done(arguments, 4)
    said = capsys.readouterr().err
    assert f"{run_dir.name}: cannot continue, as going on would lose scores" in said
    assert f"1 of 3 runs failed or were given up: {run_dir.name}; at last " in said.splitlines()[-1]
    runs = summary_of(tmp_path / "s")["runs"]
    assert [run["stop_reason"] for run in runs] == ["max_failures", "max_iters", "max_iters"]


def test_events_that_kafka_did_not_take_wait_in_the_runs_own_spools(bench: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    arguments = simulated(bench, out, "--shard", "1/3", "--bootstrap-servers", "127.0.0.1:1")
    for place in ("record.written:1", "record.pushed:2", "record.written:1"):
        with command(arguments, tmp_path / "said", TRIBRAIN_FAIL_POINT=place) as run:
            assert run.wait(120) == -signal.SIGKILL, (place, run.output)
    done(arguments)
    (run_dir,) = (out / "runs").iterdir()
    with sqlite3.connect(run_dir / "spool.sqlite") as spool:
        waiting = [value for (value,) in spool.execute("SELECT value FROM waiting ORDER BY rowid")]
    lines = (run_dir / "trace.jsonl").read_bytes().splitlines()
    assert list(dict.fromkeys(map(bytes, waiting))) == lines


def test_every_event_of_a_killed_suite_comes_to_kafka(
    bench: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIBRAIN_TOPIC_PREFIX", settings.topic_prefix)
    out = tmp_path / "s"
    arguments = simulated(bench, out, "--bootstrap-servers", settings.bootstrap_servers)
    for place in ("record.written:1", "publisher.batch-read:2", "suite.run-recorded:1", "record.written:2"):
        with command(
            arguments,
            tmp_path / "said",
            TRIBRAIN_FAIL_POINT=place,
            TRIBRAIN_TOPIC_PREFIX=settings.topic_prefix,
        ) as run:
            assert run.wait(120) == -signal.SIGKILL, (place, run.output)
    done(arguments)
    published = Counter(message.value for message in read_topic(settings, settings.trace_topic))
    recorded = [line for path in out.glob("runs/*/trace.jsonl") for line in path.read_bytes().splitlines()]
    assert set(published) == set(recorded)
    assert len(recorded) == 9
    assert list(out.glob("runs/*/spool.sqlite")) == []


def test_a_demo_has_another_report(tmp_path: Path) -> None:
    write_demo(tmp_path)
    assert build_report(tmp_path).kind == "Demo"


def test_a_failed_run_that_was_rescored_is_not_made_again_and_the_suite_tells_its_new_scores(
    bench: Path, tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("import sys; sys.exit(3)")
    critic = f"judge={shlex.quote(sys.executable)} -S {shlex.quote(str(judge))} {{video}}"
    arguments = suite(bench, tmp_path / "s", "--shard", "1/3", "--no-pixel-critics", "--critic", critic)
    done(arguments, 4)
    (run_dir,) = (tmp_path / "s" / "runs").iterdir()
    judge.write_text(
        "import sys; print({False: '{\"task\": 0.5}', True: '{\"task\": 0.8}'}['iter_01' in sys.argv[1]])"
    )
    done(["rescore", str(run_dir), "--critic", critic])
    made = calls.read_text()
    capsys.readouterr()
    done([*arguments, "--json"])
    (run,) = orjson.loads(capsys.readouterr().out)["runs"]
    assert calls.read_text() == made
    assert (run["failed"], run["failure"], run["missing"]) == (0, "", {})
    assert (run["first_score"], run["best_score"], run["scores"]) == (0.5, 0.8, [0.5, 0.8])
    assert run["best_video"].endswith("iter_01/video.mp4")
