"""``tribrain finetune`` on a real broker: it selects, trains, compares, promotes or keeps, and goes on."""

from __future__ import annotations

import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from runner.critics.pixel import default_critics
from runner.loop.controller import ThompsonController
from runner.loop.refinement import RefinementLoop
from runner.loop.stopping import StopRules
from runner.video import write_video
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.simulated_checkpoint import CHECKPOINT, read_checkpoint
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.codec import decode_finetune, encode
from streams.messages.contracts import FinetuneEvent
from streams.messages.stored import Outgoing
from streams.spool.publish_now import publish_trace_file
from tests.recorded_runs import footage, panned
from tests.runner.fakes import snapshot
from tests.tribrain.processes import command, needs_proc
from tests.waiting import wait_until
from trainers.datasets.choice import KEPT_APART

TRAIN = "runner.worlds.train_simulated --dataset {dataset} --runs {runs} --base {base} --out {out}"
TRAIN = f"{shlex.quote(sys.executable)} -m {TRAIN.replace('{base}', chr(39) + '{base}' + chr(39))}"
STEPS = ["planned", "dataset", "trained", "compared"]
FEW = 5
"""Tasks to compare on: enough to see that a checkpoint is worse, too few to promote any."""
WORSE = """
import sys
from pathlib import Path
from runner.worlds.simulated_checkpoint import CHECKPOINT, FAILURES, WorldCheckpoint, encode_checkpoint

shifts = dict.fromkeys(FAILURES, 1.5)
(Path(sys.argv[1]) / CHECKPOINT).write_bytes(encode_checkpoint(WorldCheckpoint(shifts=shifts, videos=1)))
"""
COUNTED = """
import subprocess
import sys
from pathlib import Path

with Path(sys.argv[1]).open("a") as started:
    started.write("training\\n")
sys.exit(subprocess.call(sys.argv[2:]))
"""
WAITING = """
import os
import sys
from pathlib import Path

with Path(sys.argv[1]).open("a") as started:
    started.write(f"{os.getpid()}\\n")
print("waiting", flush=True)
Path(sys.argv[2]).read_text()
print("done", flush=True)
(Path(sys.argv[3]) / "weights").write_text("new")
"""


def goal(seed: int) -> str:
    return f"move the {('red', 'green', 'purple', 'orange')[seed % 4]} cube to the blue bowl"


def refine(folder: Path, seeds: Sequence[int], iters: int = 6) -> None:
    """Finished runs of the simulated world, with the truth for its training."""
    controller = ThompsonController()
    for seed in seeds:
        RefinementLoop(
            goal=goal(seed),
            world=SimulatedWorld(goal(seed), seed, write_truth=True),
            critics=default_critics(),
            controller=controller,
            stop=StopRules(max_iters=iters),
            seed=seed,
            out_dir=folder / f"run-{seed}",
            run_id=f"run-{seed}",
            task_id=f"task-{seed}",
        ).run()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight runs of six videos each."""
    folder = tmp_path_factory.mktemp("runs")
    refine(folder, range(8))
    return folder


def publish(settings: Settings, runs: Path, names: Sequence[int] = range(8)) -> None:
    for seed in names:
        publish_trace_file(settings, runs / f"run-{seed}" / "trace.jsonl")


def words(
    settings: Settings, runs: Path, work: Path, *more: str, train: str = TRAIN, compared: int = 20
) -> list[str]:
    return [
        *("finetune", "--bootstrap-servers", settings.bootstrap_servers, "--runs", str(runs)),
        *("--work", str(work), "--train-cmd", train, "--world", "simulated"),
        *("--compare-tasks", str(compared), "--compare-seeds", "1"),
        *("--dataset-policy", "top:0.25", *more),
    ]


def run(settings: Settings, given: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tribrain.cli", *given],
        env={**os.environ, "TRIBRAIN_TOPIC_PREFIX": settings.topic_prefix} | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def told(settings: Settings) -> list[FinetuneEvent]:
    """Every event of the topic; also the repeated ones."""
    messages = read_topic(settings, settings.finetune_topic)
    return [decode_finetune(message.value, message.source) for message in messages]


def test_the_whole_cycle_trains_compares_and_promotes(settings: Settings, made: Path, tmp_path: Path) -> None:
    publish(settings, made)
    ended = run(settings, words(settings, made, tmp_path / "work", "--once", "--json"))
    assert ended.returncode == 0, ended.stderr
    events = told(settings)
    assert [event.step for event in events] == [*STEPS, "promoted"]
    last = events[-1]
    assert orjson.loads(ended.stdout) == {
        "service": "finetune",
        "model": "default",
        "trainings": 1,
        "promoted": [1],
        "kept": [],
        "verdict": last.statement,
        "checkpoint_in_use": last.checkpoint,
        "ended_by": "once",
        "failure": None,
    }
    assert (last.version, last.base, last.policy) == (1, "", "top:0.25")
    selector, other = last.details["selector"], last.details["other"]
    assert (selector["judge"], other["judge"]) == ("critics_mean", "critics_count")
    assert min(selector["evidence"], other["evidence"]) >= last.details["needed"] == pytest.approx(100)
    assert selector["win_rate"]["tasks"] == 20
    dataset = orjson.loads((Path(last.dataset) / "dataset.json").read_bytes())
    assert last.details["chosen"] == 12
    assert dataset["videos"] == math.ceil((48 - dataset["left_out"].get("near-duplicates", 0)) / 4)
    assert (tmp_path / "work" / "promoted").resolve() == Path(last.checkpoint)
    assert read_checkpoint(Path(last.checkpoint)).videos == dataset["videos"]


def test_with_nothing_to_train_on_once_ends_with_code_4(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    ended = run(settings, words(settings, made, tmp_path / "work", "--once"))
    assert ended.returncode == 4
    said = "tribrain: model 'default': no video is selected to train on"
    assert ended.stderr.splitlines()[-1] == said


def test_a_checkpoint_that_is_worse_is_kept_out_and_the_next_training_begins_with_the_same_base(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "worse.py").write_text(WORSE)
    train = f"{shlex.quote(sys.executable)} {tmp_path / 'worse.py'} {{out}} {{dataset}} {{base}}"
    publish(settings, made, range(4))
    work = tmp_path / "work"
    given = words(settings, made, work, "--once", train=train, compared=FEW)
    assert run(settings, given).returncode == 0
    publish(settings, made, range(4, 8))
    assert run(settings, given).returncode == 0
    events = told(settings)
    assert [event.step for event in events] == [*STEPS, "kept"] * 2
    assert [event.version for event in events] == [1] * 5 + [2] * 5
    assert {event.base for event in events} == {""}
    assert events[4].details["selector"]["win_rate"]["ci95"][1] < 0.5
    # A comparison that promoted nothing costs the next one.
    assert [event.details["without_promotion"] for event in events if event.step == "compared"] == [0, 1]
    assert events[9].details["needed"] > events[4].details["needed"]
    # What was learnt in vain is there to be chosen from again.
    assert events[5].details["runs"] == [f"run-{seed}" for seed in range(8)]
    assert not (work / "promoted").exists()


def test_an_active_reward_that_was_published_selects_and_judges(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    reward = snapshot({"blur.quality": 2.0, "goal_reached.task": 4.0}, version=4)
    outgoing = Outgoing(settings.snapshots_topic, b"bt:default", encode(reward))
    list(produce(settings, [outgoing]))
    publish(settings, made)
    ended = run(settings, words(settings, made, tmp_path / "work", "--once", compared=FEW))
    assert ended.returncode == 0, ended.stderr
    last = told(settings)[-1]
    assert (last.step, last.snapshot_version) == ("kept", 4)
    assert last.details["selector"]["judge"] == "reward"
    assert last.details["other"]["judge"] == "critics_mean"
    dataset = orjson.loads((Path(last.dataset) / "dataset.json").read_bytes())
    assert dataset["snapshot"]["checksum"] == reward.checksum


def test_any_training_and_any_generator_will_do(settings: Settings, made: Path, tmp_path: Path) -> None:
    """Here a checkpoint is a video, and to generate is to copy it."""
    base, new = tmp_path / "base.mp4", tmp_path / "new.mp4"
    write_video(base, footage(1), 8.0)
    write_video(new, panned(1), 8.0)
    (tmp_path / "generate.py").write_text(
        "import shutil, sys; from pathlib import Path\n"
        "found = Path(sys.argv[1]); found = found / 'new.mp4' if found.is_dir() else found\n"
        "shutil.copy(found, Path(sys.argv[2]) / 'video.mp4')\n"
    )
    (tmp_path / "prompts.txt").write_text("\n".join(f"prompt {n}" for n in range(10)))
    python = shlex.quote(sys.executable)
    publish(settings, made)
    work = tmp_path / "work"
    ended = run(
        settings,
        [
            *("finetune", "--bootstrap-servers", settings.bootstrap_servers, "--runs", str(made), "--once"),
            *("--work", str(work), "--base", str(base), "--prompts", str(tmp_path / "prompts.txt")),
            *("--train-cmd", f"cp -r {new} {{dataset}} {{out}}"),
            *("--generate-cmd", f"{python} {tmp_path / 'generate.py'} {{checkpoint}} {{out_dir}} {{prompt}}"),
        ],
    )
    assert ended.returncode == 0, ended.stderr
    last = told(settings)[-1]
    assert (last.step, last.base) == ("promoted", str(base))
    assert (work / "promoted" / "new.mp4").read_bytes() == new.read_bytes()


def test_what_is_compared_on_is_never_trained_on_and_what_was_trained_on_is_never_compared_on(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    red, purple = "Move the red cube to the  blue bowl.", "move the PURPLE cube to the blue bowl"
    prompts, work = tmp_path / "prompts.txt", tmp_path / "work"
    given = words(settings, made, work, "--once", "--prompts", str(prompts))
    given = [word for word in given if word not in ("--compare-tasks", "20")]

    publish(settings, made, range(4))
    prompts.write_text(f"{red}\npour the tea\n")
    assert run(settings, given).returncode == 0
    first = told(settings)
    assert first[1].details["left_out"][KEPT_APART] == 6
    assert goals_of(first[1]) <= {goal(1), goal(2), goal(3)}
    assert goals_of(first[1]) >= {goal(2)}

    # Now another file: what was shown is passed over, and what was reserved stays so.
    publish(settings, made, range(4, 8))
    prompts.write_text(f"{purple}\nopen the drawer\n")
    again = run(settings, given)
    assert again.returncode == 0, again.stderr
    assert "prompts excluded from the comparison, as an earlier dataset had them: 1" in again.stderr
    second = told(settings)[len(first) :]
    assert goal(0) not in goals_of(second[1])
    assert second[-1].details["selector"]["win_rate"]["tasks"] == 1
    assert second[-1].details["passed_over"] == 1

    # And nothing is left to compare on.
    prompts.write_text(f"{purple}\n")
    refused = run(settings, given)
    assert refused.returncode == 2
    assert "found 1 prompt to compare checkpoints on, each already in a dataset" in refused.stderr


def goals_of(event: FinetuneEvent) -> set[str]:
    """Those of the dataset that an event tells of."""
    manifest = Path(event.dataset) / "manifest.jsonl"
    return {orjson.loads(line)["goal"] for line in manifest.read_bytes().splitlines()}


KILLED_AT = (
    "finetune.planned:1",
    "finetune.dataset-built:1",
    "finetune.trained:1",
    "finetune.pair-judged:3",
    "finetune.compared:1",
    "finetune.ended:1",
)


@pytest.mark.long
def test_killed_after_each_step_it_goes_on_with_the_same_plan_and_does_nothing_twice(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "counted.py").write_text(COUNTED)
    count = tmp_path / "started"
    train = f"{shlex.quote(sys.executable)} {tmp_path / 'counted.py'} {count} {TRAIN}"
    publish(settings, made)
    work = tmp_path / "work"
    given = words(settings, made, work, "--once", train=train)
    left: dict[Path, int] = {}
    for place in KILLED_AT:
        assert run(settings, given, TRIBRAIN_FAIL_POINT=place).returncode == -signal.SIGKILL, place
        # Whatever a step had finished is the same file afterwards.
        assert all(path.stat().st_ino == inode for path, inode in left.items())
        left = {path: path.stat().st_ino for path in work.rglob("*") if path.name in _WHOLE}
    assert len([path for path in left if path.name == "result.json"]) == 20
    last = run(settings, given)
    assert last.returncode == 0, last.stderr
    assert count.read_text() == "training\n"
    events = told(settings)
    assert [event.step for event in events] == [*STEPS, "promoted"]
    assert len({event.event_id for event in events}) == 5
    assert events[-1].details["without_promotion"] == 0
    assert (work / "promoted").resolve() == Path(events[-1].checkpoint)
    assert not (work / "plan.json").exists()


_WHOLE = ("dataset.json", CHECKPOINT, "result.json")


@needs_proc
def test_a_training_that_a_killed_command_left_behind_is_ended_before_the_next_one_begins(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    given, started, gate = _waiting(settings, made, tmp_path)
    prefix = {"TRIBRAIN_TOPIC_PREFIX": settings.topic_prefix}
    with command(given, tmp_path / "first", **prefix) as first:
        wait_until(lambda: started.exists() and started.read_text().endswith("\n"), 120)
        first.process.kill()
        first.process.wait()
        (orphan,) = map(int, started.read_text().split())
        os.kill(orphan, 0)
        with command(given, tmp_path / "second", **prefix) as second:
            wait_until(lambda: len(started.read_text().split()) == 2, 120)
            assert not _alive(orphan)
            gate.write_text("go")
            wait_until(lambda: [event.step for event in told(settings)][2:3] == ["trained"], 120)
            second.kill_everything()


@pytest.mark.long
@needs_proc
def test_of_two_jobs_of_one_model_the_last_to_begin_a_training_goes_on(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    given, started, gate = _waiting(settings, made, tmp_path)
    with command(given, tmp_path / "said", TRIBRAIN_TOPIC_PREFIX=settings.topic_prefix) as first:
        wait_until(started.exists, 120)
        second = run(settings, words(settings, made, tmp_path / "elsewhere", "--once", compared=FEW))
        assert second.returncode == 0, second.stderr
        gate.write_text("go on")
        assert first.wait(60) == 3
    last = first.output.splitlines()[-1]
    assert last.startswith("tribrain: another finetune has begun version 1 of model 'default'")
    events = told(settings)
    assert [event.step for event in events] == ["planned", "dataset", *STEPS, "kept"]
    assert events[-1].checkpoint.startswith(str(tmp_path / "elsewhere"))


@needs_proc
def test_ctrl_c_ends_the_training_too_and_its_lines_were_passed_on(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    given, started, _ = _waiting(settings, made, tmp_path)
    with command(given, tmp_path / "said", TRIBRAIN_TOPIC_PREFIX=settings.topic_prefix) as interrupted:
        wait_until(lambda: "training: waiting" in interrupted.output, 120)
        interrupted.process.send_signal(signal.SIGINT)
        assert interrupted.wait(60) == 0
        assert not _alive(int(started.read_text()))
    assert interrupted.output.splitlines()[-1].endswith("stopped; the next start goes on from here")
    assert not list((tmp_path / "work").glob("*/checkpoint"))


@pytest.mark.long
def test_it_waits_until_so_many_new_videos_are_selected(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    publish(settings, made, range(7))
    given = words(settings, made, tmp_path / "work", "--every", "12", compared=FEW)
    with command(given, tmp_path / "said", TRIBRAIN_TOPIC_PREFIX=settings.topic_prefix) as serving:
        wait_until(lambda: "new videos: 11 (" in serving.output, 120)
        assert told(settings) == []
        publish(settings, made, (7,))
        wait_until(lambda: [event.step for event in told(settings)] == [*STEPS, "kept"], 240)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0


def _waiting(settings: Settings, made: Path, tmp_path: Path) -> tuple[list[str], Path, Path]:
    """A training that says that it has started, and waits for the gate to be written to; these two files."""
    started, gate = tmp_path / "started", tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "waiting.py").write_text(WAITING)
    script = f"{shlex.quote(sys.executable)} {tmp_path / 'waiting.py'} {started} {gate}"
    publish(settings, made)
    given = words(settings, made, tmp_path / "work", "--once", train=f"{script} {{out}} {{dataset}}")
    return given, started, gate


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
