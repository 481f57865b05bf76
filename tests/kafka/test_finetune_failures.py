"""``tribrain data finetune`` where a training, a generator or a judge fails: nobody wins, and it goes on."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import orjson
import pytest

from runner.video import write_video
from streams.kafka.settings import Settings
from tests.kafka.test_finetune import FEW, STEPS, WORSE, publish, refine, run, told, words
from tests.recorded_runs import footage
from tests.tribrain.processes import command
from tests.waiting import wait_until

PYTHON = shlex.quote(sys.executable)
FAILING = """
import shutil
import sys
from pathlib import Path

checkpoint, out, mended = map(Path, sys.argv[1:4])
if checkpoint.is_file() and not mended.exists():
    sys.exit("CUDA out of memory")
shutil.copy({video!r}, out / "video.mp4")
"""
"""A generator that fails with the base, which is a file, until it is mended."""
JUDGE = """
import sys

print('{"task": NaN}' if "/old/" in sys.argv[1] else '{"task": 0.5}')
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of three videos each."""
    folder = tmp_path_factory.mktemp("runs")
    refine(folder, range(2), iters=3)
    return folder


def by_programs(settings: Settings, made: Path, folder: Path, *more: str) -> list[str]:
    """The simplest training, and a generator that fails with the base until ``folder / "mended"`` exists."""
    write_video(folder / "video.mp4", footage(1), 8.0)
    (folder / "base").write_text("weights")
    (folder / "generate.py").write_text(FAILING.format(video=str(folder / "video.mp4")))
    (folder / "prompts.txt").write_text("\n".join(f"prompt {n}" for n in range(9)))
    generate = f"{PYTHON} {folder / 'generate.py'} {{checkpoint}} {{out_dir}} {folder / 'mended'} {{prompt}}"
    return [
        *("data", "finetune", "--bootstrap-servers", settings.bootstrap_servers, "--runs", str(made)),
        *("--out", str(folder / "work"), "--base", str(folder / "base"), "--compare-seeds", "1"),
        *("--train-cmd", "cp -r {dataset} {out}", "--generate-cmd", generate),
        *("--prompts", str(folder / "prompts.txt"), *more),
    ]


@pytest.mark.long
def test_a_generator_that_fails_with_the_old_checkpoint_promotes_nothing_and_is_tried_again(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    given = by_programs(settings, made, tmp_path, "--once", "--json")
    publish(settings, made, range(2))
    killed = run(settings, given, TRIBRAIN_FAIL_POINT="finetune.pair-judged:3")
    assert killed.returncode == -signal.SIGKILL
    failed = run(settings, given)
    assert failed.returncode == 4
    said = "tribrain: model 'default': 3 pairs of videos in a row could not be compared; the old checkpoint: "
    last = failed.stderr.splitlines()[-1]
    assert last.startswith(said)
    assert "CUDA out of memory" in last
    assert [event.step for event in told(settings)] == ["planned", "dataset", "trained"]
    assert orjson.loads(failed.stdout)["ended_by"] == "nothing made"
    checkpoint = (tmp_path / "work" / "0001" / "checkpoint").stat()

    (tmp_path / "mended").touch()
    again = run(settings, given)
    assert again.returncode == 0, again.stderr
    events = told(settings)
    assert [event.step for event in events] == [*STEPS, "kept"]
    assert (tmp_path / "work" / "0001" / "checkpoint").stat() == checkpoint
    details = events[-1].details
    assert (details["pairs"], details["left_out"], details["without_promotion"]) == (9, 0, 0)
    assert details["selector"]["win_rate"]["rate"] == 0.5


def test_a_judge_that_gives_nothing_for_the_old_videos_promotes_nothing(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "mended").touch()
    judge = f"judge={PYTHON} {tmp_path / 'judge.py'} {{video}}"
    given = by_programs(settings, made, tmp_path, "--once", "--no-pixel-critics", "--critic", judge)
    publish(settings, made, range(2))
    failed = run(settings, given)
    assert failed.returncode == 4
    assert (
        "in a row could not be compared; the old checkpoint: judge failed: " in failed.stderr.splitlines()[-1]
    )
    assert [event.step for event in told(settings)] == ["planned", "dataset", "trained"]


@pytest.mark.long
def test_without_its_plan_a_checkpoint_that_cannot_be_read_gives_way_to_a_new_one_and_counts(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    given, script = _by_script(settings, made, tmp_path, "--once")
    script.write_text("import sys; from pathlib import Path; (Path(sys.argv[1]) / 'weights').touch()")
    failed = run(settings, given)
    assert failed.returncode == 4
    assert "the new checkpoint: " in failed.stderr.splitlines()[-1]
    assert "checkpoint.json: no such file" in failed.stderr.splitlines()[-1]
    script.write_text(WORSE)
    (tmp_path / "work" / "plan.json").unlink()
    assert run(settings, given).returncode == 0
    events = told(settings)
    assert [event.step for event in events] == [*STEPS[:3], *STEPS, "kept"]
    assert events[-1].details["without_promotion"] == 1


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('the disk of the cluster is full')", "the training ended with status 1; its last"),
        pytest.param("", "the training left nothing in {out}; it printed nothing", marks=pytest.mark.long),
    ],
)
def test_a_training_that_fails_ends_with_code_4_and_is_tried_again_with_the_same_dataset(
    settings: Settings, made: Path, tmp_path: Path, program: str, said: str
) -> None:
    given, script = _by_script(settings, made, tmp_path, "--once")
    script.write_text(program)
    failed = run(settings, given)
    assert failed.returncode == 4
    assert said in failed.stderr.splitlines()[-1]
    script.write_text(WORSE)
    assert run(settings, given).returncode == 0
    assert [event.step for event in told(settings)] == [*STEPS, "kept"]


def test_a_service_tries_a_failed_training_again_until_it_is_mended(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    given, script = _by_script(settings, made, tmp_path, "--every", "1", "--retry-s", "0.5")
    given += ["--max-failures", "1000"]
    script.write_text("raise SystemExit('out of memory')")
    with command(given, tmp_path / "said", TRIBRAIN_TOPIC_PREFIX=settings.topic_prefix) as serving:
        wait_until(lambda: serving.output.count("out of memory; trying again in 0.5 s") >= 2, 120)
        script.write_text(WORSE)
        wait_until(lambda: [event.step for event in told(settings)] == [*STEPS, "kept"], 120)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0


def test_a_service_gives_up_after_as_many_failures_in_a_row_as_were_allowed(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    given = by_programs(settings, made, tmp_path, "--every", "1", "--retry-s", "0", "--max-failures", "2")
    publish(settings, made, range(2))
    ended = run(settings, given)
    assert ended.returncode == 4
    assert ended.stderr.count("trying again in 0 s") == 1
    assert ended.stderr.splitlines()[-1].startswith("tribrain: model 'default': 2 pairs of videos in a row")


def _by_script(settings: Settings, made: Path, folder: Path, *more: str) -> tuple[list[str], Path]:
    """A job whose training is a script that is still to be written."""
    script = folder / "train.py"
    publish(settings, made, range(2))
    train = f"{PYTHON} {script} {{out}} {{dataset}}"
    return words(settings, made, folder / "work", *more, train=train, compared=FEW), script
