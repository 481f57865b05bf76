"""Runs from the command line, and the chain from a run to a model that steers the next."""

from __future__ import annotations

import errno
import fcntl
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from runner.loop.controller import ThompsonController
from runner.video import read_video
from runner.worlds.simulated_checkpoint import CHECKPOINT, WorldCheckpoint, encode_checkpoint
from streams.files import write_atomically
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import encode, sealed
from streams.messages.contracts import PreferencePair, RunEnd, TraceEvent
from streams.messages.files import read_pairs, read_snapshot, read_trace
from streams.spool import place as spool_place
from tests.tribrain.processes import command, needs_proc
from tests.waiting import wait_until
from trainers.text.train import train_on_texts
from tribrain.cli import main
from tribrain.run.critics import PIXELS_ALONE

GOAL = "move the red cube to the bowl"
NASTY = """pour "the tea"; touch pwned $(touch pwned) `touch pwned` 'and' | & > pwned"""
GENERATOR = """
import sys
from pathlib import Path
import numpy as np
from runner.video import write_video
prompt, out_dir, seed = sys.argv[1:]
Path(out_dir, "given.txt").write_text(prompt)
frames = np.random.default_rng(int(seed)).integers(0, 255, (4, 32, 32, 3), np.uint8)
write_video(Path(out_dir, "video.mp4"), frames, 8.0)
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the simulated world, four iterations long."""
    out = tmp_path_factory.mktemp("run") / "a"
    tribrain(
        "run-simulated", "--goal", GOAL, "--iters", "4", "--seed", "1", "--run-id", "a", "--out", str(out)
    )
    return out


@pytest.fixture(scope="module")
def model(run_dir: Path) -> Path:
    """What was learnt of that run's pairs."""
    pairs, file = run_dir.parent / "pairs.jsonl", run_dir.parent / "bt_reward.json"
    tribrain("export-preference-pairs", "--run-dir", str(run_dir), "--out", str(pairs), "--top-k", "2")
    tribrain("train-preference-rm", "--pairs", str(pairs), "--out", str(file))
    return file


def test_a_run_leaves_a_trace_with_its_end(run_dir: Path) -> None:
    *events, end = read_trace(run_dir / "trace.jsonl")
    assert [event.iter_idx for event in events if isinstance(event, TraceEvent)] == [0, 1, 2, 3]
    assert isinstance(end, RunEnd)
    assert (end.run_id, end.iterations, end.stop_reason) == ("a", (0, 1, 2, 3), "max_iters")


def test_every_iteration_has_a_video_that_plays(run_dir: Path) -> None:
    for event in events_of(run_dir):
        frames, _ = read_video(run_dir / event.artifact_path)
        assert len(frames) > 1


def test_the_same_seed_gives_the_same_trace_but_for_the_times(run_dir: Path, tmp_path: Path) -> None:
    again = simulated(tmp_path / "b", "--iters", "4", "--seed", "1", "--run-id", "a")
    assert without_times(events_of(again)) == without_times(events_of(run_dir))


def test_another_seed_gives_another_trace(run_dir: Path, tmp_path: Path) -> None:
    other = simulated(tmp_path / "b", "--iters", "1", "--seed", "2", "--run-id", "a")
    assert events_of(other)[0].critic_scores() != events_of(run_dir)[0].critic_scores()


def test_runs_with_the_same_seed_in_different_folders_have_different_ids(tmp_path: Path) -> None:
    """An id is a run's identity on Kafka: of two runs with one id, the second would not be learnt."""
    first, second = (simulated(tmp_path / name, "--iters", "1", "--seed", "3") for name in "bc")
    ids = [events_of(out)[0].run_id for out in (first, second)]
    assert all("_seed3_" in run_id for run_id in ids)
    assert len({run_id.rpartition("_")[2] for run_id in ids}) == 2


def test_json_is_one_object_that_agrees_with_the_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = simulated(tmp_path / "b", "--iters", "2", "--seed", "1", "--json")
    said = orjson.loads(capsys.readouterr().out)
    last = events_of(out)[-1].meta
    assert said["iterations"] == 2
    assert (said["best_iter"], said["best_score"]) == (last["best_iter"], last["best_score"])


def test_a_run_that_another_critic_judges_too_is_not_said_to_measure_pixels_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = shlex.join([sys.executable, "-c", "print('{{\"task\": 1}}')"])
    simulated(tmp_path / "b", "--iters", "1", "--critic", f"judge={judge} {{video}}")
    assert "know nothing of the task" not in capsys.readouterr().err


def test_a_run_without_a_terminal_is_a_line_for_each_iteration_and_its_best_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated(tmp_path / "b", "--iters", "1", "--seed", "1", "--run-id", "b")
    said = capsys.readouterr()
    (event,) = events_of(tmp_path / "b")
    score = f"{event.overall_score:.3f}"
    assert said.err == f"iteration 0: critics' score {score}; best {score} at 0\n{PIXELS_ALONE}\n"
    assert said.out.splitlines() == [
        f"b: 1 iteration, best is iteration 0 with critics' score {score}; all iterations made; in "
        f"{tmp_path / 'b'}",
        str(tmp_path / "b" / event.artifact_path),
        f"  {event.prompt}",
    ]


def test_the_exported_pairs_prefer_the_best(model: Path, run_dir: Path) -> None:
    scores = {event.artifact_path: event.overall_score for event in events_of(run_dir)}
    (first, *_) = read_pairs(model.with_name("pairs.jsonl"))
    assert vars_of(first)["chosen_score"] == max(score for score in scores.values() if score is not None)


def test_a_model_learns_every_exported_pair(model: Path) -> None:
    n_pairs = len(read_pairs(model.with_name("pairs.jsonl")))
    assert sum(read_snapshot(model).labels.values()) == n_pairs > 0


def test_a_run_says_what_the_model_that_steers_it_is_made_of(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated(tmp_path / "b", "--iters", "1", "--seed", "1", "--preference-rm", str(model))
    statement, steers, *_ = capsys.readouterr().err.splitlines()
    assert statement == f"{model}: {read_snapshot(model).statement}"
    assert steers == (
        f"{model}: In this run it steers, as you gave it, though it is not shown to beat the critics' mean."
    )


def test_a_model_given_by_its_user_steers_from_the_second_candidate_on(model: Path, tmp_path: Path) -> None:
    out = simulated(tmp_path / "b", "--iters", "3", "--seed", "1", "--preference-rm", str(model))
    first, *others = (event.meta["preference_confidence"] for event in events_of(out))
    assert first == 0.0
    assert all(0.5 < c < 1.0 for c in others)


@pytest.fixture(scope="module")
def text_model(run_dir: Path) -> Path:
    """A reward of texts that was made of the same run's pairs."""
    file = run_dir.parent / "text_reward.json"
    tribrain(
        "export-preference-pairs", "--run-dir", str(run_dir), "--out", str(file.with_name("texts.jsonl"))
    )
    write_atomically(file, encode(train_on_texts(read_pairs(file.with_name("texts.jsonl")))))
    return file


def test_a_reward_of_texts_given_by_its_user_picks_among_rewrites(text_model: Path, tmp_path: Path) -> None:
    given = ("--text-rm", str(text_model), "--rewrites", "8")
    events = events_of(simulated(tmp_path / "b", "--iters", "3", "--seed", "1", *given))
    first = events[0].meta
    assert len(first["rewrites"]) > 1
    picked = max(range(len(first["rewrites"])), key=lambda i: first["rewrites"][i]["sampled"])
    assert (first["rewrite_picked"], first["rewrites"][picked]["prompt"]) == (picked, events[1].prompt)
    assert all("text_rm.text" in event.critic_scores() for event in events)


@pytest.mark.parametrize(
    ("text_rm", "said"),
    [
        ("text", "--text-reward text follows a model on Kafka; give --bootstrap-servers, or a file"),
        ("lora", "--text-reward lora follows a model on Kafka; give --bootstrap-servers, or a file"),
        ("missing.json", "missing.json: no such file"),
        ("bt_reward.json", "is not a reward of texts"),
    ],
)
def test_a_reward_of_texts_that_cannot_be_used_is_bad_input(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text_rm: str, said: str
) -> None:
    where = str(model) if text_rm == model.name else text_rm
    with pytest.raises(SystemExit) as ended:
        main(["run-simulated", "--goal", GOAL, "--out", str(tmp_path / "r"), "--text-rm", where])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_shadow_does_not_steer_where_an_active_model_is_required(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--preference-rm", str(model), "--preference-gate", "require")
    out = simulated(tmp_path / "b", "--iters", "2", "--seed", "1", *options)
    assert [event.meta["preference_confidence"] for event in events_of(out)] == [0.0, 0.0]
    assert events_of(out)[1].meta["preference_prob"] is not None
    assert "In this run it steers nothing: --preference-gate require." in capsys.readouterr().err


def test_the_controller_goes_on_from_what_it_was_given(tmp_path: Path) -> None:
    state = tmp_path / "controller.json"
    rounds = []
    for name in "bc":
        simulated(tmp_path / name, "--iters", "3", "--seed", "1", "--controller", str(state))
        rounds.append(ThompsonController.load(state).rounds)
    assert 0 < rounds[0] < rounds[1]


def test_a_run_publishes_every_event_and_its_end(
    settings: Settings, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TRIBRAIN_TOPIC_PREFIX", settings.topic_prefix)
    out = simulated(
        tmp_path / "b", "--iters", "2", "--seed", "1", "--bootstrap-servers", settings.bootstrap_servers
    )
    published = b"".join(m.value + b"\n" for m in read_topic(settings, settings.trace_topic))
    assert published == (out / "trace.jsonl").read_bytes()


def test_a_generator_gets_the_prompt_as_it_is_and_no_shell_sees_it(tmp_path: Path) -> None:
    out = generated(tmp_path, GENERATOR, "--iters", "2")
    events = events_of(out)
    assert [(out / f"iter_0{i}" / "given.txt").read_text() for i in (0, 1)] == [e.prompt for e in events]
    assert events[0].prompt.startswith(NASTY)
    assert [event.overall_score for event in events].count(None) == 0
    assert list(tmp_path.rglob("pwned*")) == []


FAILS_TWICE = """
from pathlib import Path
calls = Path(__file__).with_name("calls")
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
if len(calls.read_text()) in (2, 3): raise SystemExit("out of memory")
"""


def test_a_generator_that_fails_costs_its_candidate_and_not_the_run(tmp_path: Path) -> None:
    events = events_of(generated(tmp_path, FAILS_TWICE + GENERATOR, "--iters", "4"))
    assert [event.overall_score is None for event in events] == [False, True, True, False]
    assert "out of memory" in events[1].meta["error"]


@pytest.mark.parametrize(
    ("options", "tried", "reason"),
    [
        (("--iters", "2"), 2, "max_iters"),
        (("--iters", "3", "--candidates", "4"), 3, "max_failures"),
        (("--iters", "9", "--max-failures", "5"), 5, "max_failures"),
    ],
)
def test_a_run_of_which_nothing_can_be_made_ends_soon_with_code_4_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], tried: int, reason: str
) -> None:
    fails = "from pathlib import Path\nPath(__file__).with_name('calls').open('a').write('x')\n"
    out = generated(tmp_path, fails + "raise SystemExit('no checkpoint')", *options, code=4)
    assert (tmp_path / "calls").read_text() == "x" * tried
    assert end_of(out).stop_reason == reason
    last = capsys.readouterr().err.splitlines()[-1]
    assert ": nothing could be made; at last " in last
    assert "no checkpoint" in last


def test_a_judge_that_is_down_ends_the_run_with_code_4_and_what_was_made_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = shlex.join([sys.executable, "-c", "import sys; sys.exit('503 ' + sys.argv[1][-9:])"])
    out = simulated(tmp_path / "b", "--iters", "9", "--critic", f"judge={judge} {{video}}", code=4)
    said = capsys.readouterr()
    assert len(events_of(out)) == 3
    assert "best is iteration" in said.out
    assert said.err.splitlines()[-1].endswith(
        ": given up, as a critic kept failing; at last critic judge: the critic ended with status 1, "
        "and said '503 video.mp4'"
    )


def test_a_short_run_whose_judge_was_down_on_every_video_ends_with_code_4_and_goes_on_once_it_is_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("raise SystemExit(7)")
    critic = f"judge={shlex.join([sys.executable, '-S', str(judge)])} {{video}}"
    given = ("--iters", "2", "--critic", critic)
    out = simulated(tmp_path / "b", *given, code=4)
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(": a critic failed on every video; at last critic judge: the critic ended with status 7")
    )
    judge.write_text("print('{\"task\": 0.5}')")
    simulated(out, *given)
    assert all("judge.task" in event.critic_scores() for event in events_of(out))


def test_a_required_judge_that_fails_in_part_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text('print(\'{"task": null, "physics": 0.9, "no_score": "failed"}\')')
    critic = f"judge={shlex.join([sys.executable, '-S', str(judge)])} {{video}}"
    out = simulated(tmp_path / "b", "--iters", "5", "--critic", critic, "--require-critic", "judge", code=4)
    assert [event.overall_score for event in events_of(out)] == [None] * 3
    said = capsys.readouterr().err.splitlines()
    assert (
        "critic judge gave not all of its scores for 3 of 3 videos; at last: it says that it failed" in said
    )
    assert ": no video could be judged; at last " in said[-1]


def test_what_only_says_how_long_to_try_may_change(tmp_path: Path) -> None:
    given = ("--iters", "4", "--critic", "judge=false {video}")
    for most in ("2", "3"):
        out = simulated(tmp_path / "b", *given, "--max-failures", most, "--critic-timeout-s", most, code=4)
        assert len(events_of(out)) == int(most)


def test_a_run_that_only_a_judge_sees_says_that_nothing_could_be_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated(tmp_path / "b", "--no-pixel-critics", "--critic", "judge=false {video}", code=4)
    assert ": no video could be judged; at last " in capsys.readouterr().err.splitlines()[-1]


# Going on


KILLED = ("record.written:1", "world.generated:1", "world.kept:1", "record.pushed:3", "record.written:2")


def test_a_run_that_is_killed_again_and_again_goes_on_to_the_same_trace_and_controller(
    run_dir: Path, tmp_path: Path
) -> None:
    out, state = tmp_path / "killed", tmp_path / "controller.json"
    given = ["--goal", GOAL, "--iters", "4", "--seed", "1", "--run-id", "a", "--controller", str(state)]
    arguments = ["run-simulated", *given, "--out", str(out)]
    for n, place in enumerate(KILLED):
        with command(arguments, tmp_path / f"said-{n}", TRIBRAIN_FAIL_POINT=place) as run:
            assert run.wait(120) == -signal.SIGKILL, (place, run.output)
    tribrain(*arguments)
    assert without_times(events_of(out)) == without_times(events_of(run_dir))
    learnt, of_run = (ThompsonController.load(path) for path in (state, run_dir / "controller.json"))
    assert (learnt.rounds, learnt.mean()[0].tolist()) == (of_run.rounds, of_run.mean()[0].tolist())


def test_a_finished_run_is_said_again_and_nothing_is_made(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    simulated(run_dir, "--iters", "4", "--seed", "1")
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == files
    assert capsys.readouterr().out.startswith("a: 4 iterations, best is iteration ")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("--iters", "4", "--seed", "2"), "holds a run with seed 1 rather than 2; go on with the options"),
        (("--seed", "1", "--iters", "5"), "iters 4 rather than 5"),
        (("--iters", "4", "--seed", "1", "--run-id", "b"), "run id 'a' rather than 'b'"),
        (
            ("--iters", "4", "--seed", "1", "--fresh", "--run-id", "a"),
            "--run-id a: was the name of the run before",
        ),
    ],
)
def test_a_run_goes_on_only_as_what_it_was(
    run_dir: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, ...], complaint: str
) -> None:
    before = (run_dir / "trace.jsonl").read_bytes()
    simulated(run_dir, *change, code=2)
    assert complaint in capsys.readouterr().err
    assert (run_dir / "trace.jsonl").read_bytes() == before


def test_fresh_removes_the_run_and_begins_anew(tmp_path: Path) -> None:
    out = simulated(tmp_path / "b", "--iters", "2", "--seed", "1")
    (out / "notes.txt").touch()
    old = events_of(out)
    simulated(out, "--iters", "1", "--seed", "2", "--fresh")
    (event,) = events_of(out)
    assert event.run_id != old[0].run_id
    assert event.critic_scores() != old[0].critic_scores()
    assert (out / "notes.txt").exists()
    assert not (out / "iter_01").exists()


def test_fresh_refuses_to_remove_what_no_run_has_written_among_its_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = simulated(tmp_path / "b", "--iters", "2", "--seed", "1")
    notes = out / "iter_01" / "notes.txt"
    notes.write_text("precious")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    simulated(out, "--iters", "2", "--seed", "1")
    simulated(out, "--iters", "1", "--seed", "2", "--fresh", code=2)
    assert f"{notes}: no run has written it, and --fresh would remove it; move it" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_fresh_removes_what_an_unfinished_rescoring_left(tmp_path: Path) -> None:
    out = simulated(tmp_path / "b", "--iters", "1", "--seed", "1")
    (out / "rescoring.jsonl").touch()
    simulated(out, "--iters", "1", "--seed", "2", "--fresh")
    assert not (out / "rescoring.jsonl").exists()


def test_fresh_removes_nothing_while_a_critic_on_another_machine_is_at_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = simulated(tmp_path / "b", "--iters", "2", "--seed", "1")
    lock = out / "iter_01" / "critic-judge.lock"
    lock.write_text("group 1 on elsewhere\n")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        simulated(out, "--iters", "2", "--seed", "1", "--fresh", code=2)
    assert "process group 1 on elsewhere is still running; end it there first" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@needs_proc
def test_fresh_ends_the_critic_that_a_killed_run_left_at_work(tmp_path: Path) -> None:
    out, asleep = tmp_path / "b", tmp_path / "asleep"
    critic = f"judge=sh -c 'touch {shlex.quote(str(asleep))}; sleep 600' {{video}}"
    arguments = ["run-simulated", "--goal", GOAL, "--out", str(out), "--iters", "1"]
    with command([*arguments, "--critic", critic], tmp_path / "said") as run:
        wait_until(asleep.exists, 60)
        run.process.kill()
        assert run.wait(60) == -signal.SIGKILL
        assert run.started("sleep")
        tribrain(*arguments, "--fresh")
        wait_until(lambda: not run.started("sleep"))


@pytest.mark.parametrize("options", [(), ("--fresh",), ("--dry-run",)])
@pytest.mark.parametrize("name", ["iter_00/x", "notes.txt", "config.toml"])
def test_a_folder_that_holds_files_and_no_run_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, options: tuple[str, ...]
) -> None:
    file = tmp_path / "b" / name
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    simulated(tmp_path / "b", "--iters", "1", *options, code=2)
    first = Path(name).parts[0]
    assert f"b: is not empty ({first}) and holds no run; choose another --out" in capsys.readouterr().err
    assert [path for path in (tmp_path / "b").rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "precious"


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_no_run_has_written_in_a_runs_folder_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, fresh: tuple[str, ...]
) -> None:
    out = simulated(tmp_path / "b", "--iters", "1", "--seed", "1")
    foreign, files = out / "iter_01", tmp_path / "files"
    files.mkdir()
    (files / "x").write_text("precious")
    if kind == "link":
        foreign.symlink_to(files)
    else:
        (files if kind == "folder" else files / "x").rename(foreign)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    simulated(out, "--iters", "1", "--seed", "1", *fresh, code=2)
    assert "iter_01: holds what no run has written" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_a_process_left_that_was_ended_while_it_removed_a_run_is_removed_by_fresh_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = simulated(tmp_path / "b", "--iters", "2", "--seed", "1")
    for name in ("trace.jsonl", "run.json", "config.toml", "iter_00/video.mp4"):
        (out / name).unlink()
    simulated(out, "--iters", "1", "--seed", "1", code=2)
    assert "holds what is left of a run; choose another --out, or begin anew with" in capsys.readouterr().err
    simulated(out, "--iters", "1", "--seed", "1", "--fresh")
    assert [path.name for path in out.glob("iter_*")] == ["iter_00"]


def test_a_run_does_not_go_on_with_another_reward_model_in_the_same_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reward = tmp_path / "m.json"
    shutil.copy(model, reward)
    given = ("--iters", "3", "--seed", "1", "--reward", str(reward))
    out = simulated(tmp_path / "b", *given)
    trace = out / "trace.jsonl"
    trace.write_bytes(b"".join(trace.read_bytes().splitlines(keepends=True)[:2]))
    before = trace.read_bytes()
    reward.write_bytes(reward.read_bytes() + b"\n")
    simulated(out, *given, code=2)
    assert "holds a run with preference_rm {'version': " in capsys.readouterr().err
    assert trace.read_bytes() == before
    shutil.copy(model, reward)
    simulated(out, *given)
    assert len(events_of(out)) == 3


def test_a_run_goes_on_with_a_newer_version_of_its_reward_model(model: Path, tmp_path: Path) -> None:
    reward = tmp_path / "m.json"
    shutil.copy(model, reward)
    given = ("--iters", "3", "--seed", "1", "--reward", str(reward))
    out = simulated(tmp_path / "b", *given)
    trace = out / "trace.jsonl"
    trace.write_bytes(b"".join(trace.read_bytes().splitlines(keepends=True)[:2]))
    first = read_snapshot(reward)
    reward.write_bytes(encode(sealed(replace(first, version=first.version + 1))))
    simulated(out, *given)
    versions = [event.meta["reward_version"] for event in events_of(out)]
    assert versions == [first.version, first.version, first.version + 1]


def test_a_run_does_not_go_on_from_another_first_frame_in_the_same_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "first.png"
    colour_image(image, 10)
    (tmp_path / "gen.py").write_text(GENERATOR.replace("seed = sys.argv[1:]", "seed, image = sys.argv[1:]"))
    given = ("--goal", GOAL, "--cmd", template(tmp_path) + " {image}", "--out", str(tmp_path / "run"))
    command = ("run-subprocess", *given, "--image", str(image), "--iters", "1")
    tribrain(*command)
    colour_image(image, 20)
    tribrain(*command, code=2)
    assert "holds a run with image 'sha256 " in capsys.readouterr().err


def test_a_run_does_not_go_on_with_another_checkpoint_in_the_same_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoint"
    write_atomically(folder / CHECKPOINT, encode_checkpoint(WorldCheckpoint()))
    simulated(tmp_path / "b", "--iters", "1", "--checkpoint", str(folder))
    (folder / "more").touch()
    simulated(tmp_path / "b", "--iters", "1", "--checkpoint", str(folder), code=2)
    assert "holds a run with checkpoint 'sha256 " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (b"no image", " {image}", "cannot be decoded"),
        (b"", " {image}", "cannot be decoded"),
        (None, " {image}", "no such file"),
        (b"", "", "--image has no effect without {image} in --cmd"),
    ],
)
def test_a_first_frame_that_cannot_be_used_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, place: str, said: str
) -> None:
    image = tmp_path / "first.png"
    if content is not None:
        image.write_bytes(content)
    command = ("--goal", GOAL, "--cmd", template(tmp_path) + place, "--image", str(image))
    tribrain("run-subprocess", *command, "--out", str(tmp_path / "run"), code=2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def colour_image(path: Path, value: int) -> None:
    cv2.imwrite(str(path), np.full((48, 64, 3), value, np.uint8))


def test_a_folder_whose_file_system_has_no_locks_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    simulated(tmp_path / "b", code=2)
    assert (
        "its file system has no locks (No locks available); choose another --out" in capsys.readouterr().err
    )
    assert not (tmp_path / "b" / "trace.jsonl").exists()


@pytest.mark.parametrize("why", ["no locks", "no folder"])
def test_a_controller_that_cannot_be_written_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    (tmp_path / "file").write_text("")
    controller = tmp_path / ("file" if why == "no folder" else "elsewhere") / "c.json"
    flock = fcntl.flock

    def no_locks_elsewhere(file: IO[bytes], how: int) -> None:
        if "elsewhere" in str(getattr(file, "name", "")):
            raise OSError(errno.ENOLCK, "No locks available")
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", no_locks_elsewhere)
    simulated(tmp_path / "b", "--controller", str(controller), code=2)
    said = capsys.readouterr().err
    assert f"{controller}: " in said
    assert "choose another --controller" in said
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_goal_that_is_too_long_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run-simulated", "--goal", "x" * 2001, "--out", str(tmp_path / "b")])
    assert ended.value.code == 2
    assert "the goal has 2001 characters" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@needs_proc
def test_a_generator_that_a_killed_run_left_behind_is_ended_by_the_next_start(tmp_path: Path) -> None:
    with generator_that_waits(tmp_path) as (run, out):
        wait_until(lambda: run.started("gen.py"), 60)
        run.process.kill()
        run.process.wait()
        assert run.started("gen.py")
        generated(tmp_path, GENERATOR, "--iters", "1", goal=GOAL)
        assert run.children() == []
    assert len(events_of(out)) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_run_and_the_same_command_goes_on(
    run_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "b"
    arguments = ["run-simulated", "--goal", GOAL, "--iters", "4", "--seed", "1", "--run-id", "a"]
    with command([*arguments, "--out", str(out)], tmp_path / "said") as run:
        wait_until(lambda: (out / "iter_01").exists(), 60)
        run.process.send_signal(number)
        assert run.wait(60) == 130, run.output
    assert end_of(out).stop_reason == "interrupted"
    tribrain(*arguments, "--out", str(out))
    assert end_of(out).stop_reason == "max_iters"
    assert without_times(events_of(out)) == without_times(events_of(run_dir))


def test_a_run_whose_end_is_on_kafka_does_not_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor where that still waits in the spool."""
    out = tmp_path / "b"
    arguments = ["run-simulated", "--goal", GOAL, "--out", str(out), "--bootstrap-servers", "127.0.0.1:1"]
    with command(arguments, tmp_path / "said") as run:
        wait_until(lambda: (out / "iter_01").exists(), 60)
        run.process.send_signal(signal.SIGTERM)
        assert run.wait(60) == 130, run.output
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "its end is on Kafka" in capsys.readouterr().err


def test_a_run_over_a_network_has_its_spool_on_this_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    share, state = tmp_path / "share", tmp_path / "state"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:30 / {share} rw - nfs4 host:/x rw\n")
    monkeypatch.setattr(spool_place, "MOUNTS", mounts)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    tribrain(
        "run-simulated", "--goal", GOAL, "--iters", "1", "--bootstrap-servers", "127.0.0.1:1",
        "--out", str(share / "a"),
    )  # fmt: skip
    (spool,) = state.rglob("*.sqlite")
    assert f"events wait for Kafka in {spool}, on this computer" in (said := capsys.readouterr().err)
    assert f"tribrain log spool flush {spool}" in said
    assert list((share / "a").glob("spool.sqlite*")) == []
    tribrain("spool", "status", str(share / "a"), "--json")
    assert sum(json.loads(capsys.readouterr().out)["waiting"].values()) == 2


def test_a_run_has_its_spool_where_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tribrain(
        "run-simulated", "--goal", GOAL, "--iters", "1", "--bootstrap-servers", "127.0.0.1:1",
        "--out", str(tmp_path / "a"), "--spool-dir", str(tmp_path / "disk"),
    )  # fmt: skip
    assert [path.parent for path in tmp_path.rglob("*.sqlite")] == [tmp_path / "disk"]
    capsys.readouterr()
    tribrain("spool", "status", str(tmp_path / "a"), "--spool-dir", str(tmp_path / "disk"), "--json")
    assert sum(json.loads(capsys.readouterr().out)["waiting"].values()) == 2


def unpublished(tmp_path: Path, *options: str, code: int = 0) -> None:
    away = ("--goal", GOAL, "--iters", "2", "--bootstrap-servers", "127.0.0.1:1")
    tribrain("run-simulated", *away, "--out", str(tmp_path / "a"), *options, code=code)


def waiting_in(spool: Path, capsys: pytest.CaptureFixture[str], *options: str) -> int:
    capsys.readouterr()
    tribrain("spool", "status", str(spool), *options, "--json")
    return sum(json.loads(capsys.readouterr().out)["waiting"].values())


def test_a_run_goes_on_with_the_spool_that_it_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unpublished(tmp_path, "--spool-dir", str(tmp_path / "disk"))
    (spool,) = tmp_path.rglob("*.sqlite")
    waited = waiting_in(spool, capsys)
    unpublished(tmp_path)
    assert f"tribrain log spool flush {spool}" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.sqlite")) == [spool]
    assert waiting_in(spool, capsys) == waiting_in(tmp_path / "a", capsys) > waited
    unpublished(tmp_path, "--fresh")
    assert list(tmp_path.rglob("*.sqlite")) == [spool]


def test_what_waits_in_an_earlier_spool_is_named_where_another_place_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unpublished(tmp_path)
    earlier = tmp_path / "a" / "spool.sqlite"
    waited = waiting_in(earlier, capsys)
    unpublished(tmp_path, "--spool-dir", str(tmp_path / "disk"))
    (later,) = (tmp_path / "disk").glob("*.sqlite")
    said = capsys.readouterr().err
    in_it = f"not on Kafka, in another spool of this run: {waited} events; to send: tribrain log spool flush "
    assert f"{in_it}{earlier}\n" in said
    assert f"not on Kafka: 1 event; to send: tribrain log spool flush {later}\n" in said
    tribrain("spool", "status", str(tmp_path / "a"))
    told = capsys.readouterr()
    assert told.out.startswith(f"{later}: 1 event of 1 run waiting")
    assert f"tribrain log spool flush {earlier}\n" in told.err
    later.unlink()
    assert waiting_in(tmp_path / "a", capsys) == waited


def test_an_earlier_spool_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unpublished(tmp_path)
    earlier = tmp_path / "a" / "spool.sqlite"
    earlier.write_bytes(b"not a database, but long enough to be one" * 50)
    unpublished(tmp_path, "--spool-dir", str(tmp_path / "disk"))
    assert f"another spool of this run cannot be read: {earlier}: not a spool" in capsys.readouterr().err


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_generator_and_records_the_run(tmp_path: Path, number: signal.Signals) -> None:
    with generator_that_waits(tmp_path) as (run, out):
        wait_until(lambda: run.started("gen.py"))
        run.process.send_signal(number)
        assert run.wait(20) == 130
        assert run.children() == []
    assert end_of(out).stop_reason == "interrupted"


@contextmanager
def generator_that_waits(folder: Path) -> Iterator[tuple[Any, Path]]:
    (folder / "gen.py").write_text("import threading; threading.Event().wait()")
    arguments = ["run-subprocess", "--goal", GOAL, "--out", str(folder / "run"), "--cmd", template(folder)]
    with command([*arguments, "--iters", "1"], folder / "said") as run:
        yield run, folder / "run"


def generated(folder: Path, generator: str, *options: str, goal: str = NASTY, code: int = 0) -> Path:
    (folder / "gen.py").write_text(generator)
    given = ("--goal", goal, "--cmd", template(folder), "--out", str(folder / "run"), *options)
    tribrain("run-subprocess", *given, code=code)
    return folder / "run"


def template(folder: Path) -> str:
    return (
        f"{shlex.quote(sys.executable)} {shlex.quote(str(folder / 'gen.py'))} {{prompt}} {{out_dir}} {{seed}}"
    )


def simulated(out: Path, *options: str, code: int = 0) -> Path:
    tribrain("run-simulated", "--goal", GOAL, "--out", str(out), *options, code=code)
    return out


def tribrain(*words: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == code


def end_of(run: Path) -> RunEnd:
    end = read_trace(run / "trace.jsonl")[-1]
    assert isinstance(end, RunEnd)
    return end


def events_of(run: Path) -> list[TraceEvent]:
    return [message for message in read_trace(run / "trace.jsonl") if isinstance(message, TraceEvent)]


def without_times(events: list[TraceEvent]) -> list[dict[str, Any]]:
    return [
        vars_of(event) | {"meta": {k: v for k, v in event.meta.items() if not k.endswith("_time_s")}}
        for event in events
    ]


def vars_of(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__slots__}


def test_a_run_weighs_the_dimensions_that_it_is_told_and_keeps_what_each_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = read_pairs(model.parent / "pairs.jsonl")
    on_physics = [replace(one, dimension="physics") for one in pairs if isinstance(one, PreferencePair)]
    files = tmp_path / "pairs.jsonl", tmp_path / "bt_reward.json", tmp_path / "out"
    files[0].write_bytes(b"".join(encode(one) + b"\n" for one in [*pairs, *on_physics]))
    tribrain("train-preference-rm", "--pairs", str(files[0]), "--out", str(files[1]))
    given = ("--goal", GOAL, "--iters", "2", "--preference-rm", str(files[1]), "--out", str(files[2]))
    tribrain("run-simulated", *given, "--prefer", "physics=2, beauty=1")
    said = capsys.readouterr().err
    assert "On physics: Made of" in said
    assert "On beauty: nothing was learnt yet, so it moves nothing." in said
    last = [event for event in read_trace(files[2] / "trace.jsonl") if isinstance(event, TraceEvent)][-1]
    assert list(last.meta["preference_by_dimension"]) == ["physics"]
    assert 0.0 <= last.meta["preference_confidence"] <= 2 / 3


@pytest.mark.parametrize(
    "prefer",
    ["physics", "physics=0", "physics=x", "=1", "physics=1,physics=2", "physics=1,", '"a=1', "a=1\nb=2", ""],
)
def test_shares_of_dimensions_that_are_none_are_bad_input(prefer: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run-simulated", "--goal", GOAL, "--prefer", prefer, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert not (tmp_path / "out").exists()


def test_what_is_beyond_the_bounds_of_a_context_costs_no_video_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = """Path(out_dir, "context.json").write_text('{"a seed": 1234567890, "cost": 1.5}')"""
    events = events_of(generated(tmp_path, f"{GENERATOR}{said}", "--iters", "2"))
    assert [event.candidate_context.get("cost") for event in events] == [1.5, 1.5]
    assert caplog.messages == ["context.json: a seed: Expected `int` <= 1000000; left out"]


def test_a_video_whose_name_is_not_utf_8_costs_its_candidate_and_not_the_run(tmp_path: Path) -> None:
    renamed = r"""
import os
os.rename(os.fsencode(out_dir) + b"/video.mp4", os.fsencode(out_dir) + b"/vid\xff.mp4")
"""
    run = generated(tmp_path, f"{GENERATOR}{renamed}", "--iters", "1", code=4)
    (event,) = events_of(run)
    assert "is called iter_00/vid\\udcff.mp4, which is not UTF-8" in event.meta["error"]


def critic(folder: Path, name: str, said: str) -> tuple[str, str]:
    """As options: a critic that prints this."""
    path = folder / f"{name}.json"
    path.write_text(said)
    return "--critic", f"{name}=sh -c 'cat \"$0\"' {shlex.quote(str(path))} {{video}}"


def test_a_critic_whose_scores_are_more_than_a_video_can_have_failed_and_the_others_did_not(
    tmp_path: Path,
) -> None:
    many = json.dumps({f"m{i}": 0.5 for i in range(100)})
    critics = [words for i in range(6) for words in critic(tmp_path, f"c{i}", many)]
    run = simulated(tmp_path / "run", *critics, "--no-pixel-critics", "--iters", "2", code=4)
    for event in events_of(run):
        assert [len(result.scores) for result in event.critic_results] == [100] * 5 + [0]
        assert event.overall_score == 0.5
        assert "all critics gave 600 scores; at most 510 are taken" in event.critic_results[-1].notes


def test_critics_whose_scores_have_one_name_do_not_end_a_run(tmp_path: Path) -> None:
    critics = (*critic(tmp_path, "a.b", '{"c": 0.25}'), *critic(tmp_path, "a", '{"b.c": 0.75}'))
    run = simulated(tmp_path / "run", *critics, "--no-pixel-critics", "--iters", "1", code=4)
    (event,) = events_of(run)
    assert [result.scores for result in event.critic_results] == [{"c": 0.25}, {}]
    assert "expected one score per name: rename a critic" in event.critic_results[1].notes


def test_a_critic_whose_extra_output_is_nested_too_deeply_is_taken_without_it(tmp_path: Path) -> None:
    deep = critic(
        tmp_path, "deep", json.dumps({"task": 0.5}).replace("}", ', "x": ' + "[" * 70 + "]" * 70 + "}")
    )
    (event,) = events_of(simulated(tmp_path / "run", *deep, "--no-pixel-critics", "--iters", "1"))
    assert event.overall_score == 0.5


def test_a_run_may_be_in_a_folder_whose_name_is_not_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "d\udcff"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert len(events_of(simulated(Path("run"), "--iters", "1"))) == 1
