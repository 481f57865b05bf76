"""A disk that is full under the videos: one line, and what was made is not lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runner.video import write_as_mp4, write_video
from runner.worlds.process import run_to_end
from streams.kafka.reader import read_topic
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.spool import queue
from tests.faults.disks import fill, small_disk
from tribrain.cli import main

NOISE = np.random.default_rng(0).integers(0, 255, (20, 256, 256, 3), dtype=np.uint8)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", megabytes=1) as folder:
        yield folder


def code_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


def nearly_full(folder: Path, left: int) -> Path:
    """Take all but so many bytes of the room; returns the file that does."""
    filler = fill(folder)
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - left)
    return filler


def test_a_video_that_the_disk_has_no_room_for_is_not_taken_for_one_that_cannot_be_decoded(
    disk: Path, tmp_path: Path
) -> None:
    write_video(tmp_path / "noise.mp4", NOISE, 8.0)
    with pytest.raises(OSError, match="No space left on device"):
        write_as_mp4(tmp_path / "noise.mp4", disk / "copy.mp4")
    with pytest.raises(OSError, match="No space left on device"):
        write_video(disk / "noise.mp4", NOISE, 8.0)
    assert not (disk / "noise.mp4").exists()


@pytest.mark.parametrize("left", [0, 8 << 10, 80 << 10])
def test_a_run_whose_disk_is_full_ends_with_one_line_and_goes_on_once_there_is_room(
    disk: Path, capsys: pytest.CaptureFixture[str], left: int
) -> None:
    """Wherever that is: at its plan, its first video or a later one."""
    arguments = ("run", "simulated", "--goal", "move the red cube to the bowl", "--iters", "6", "--seed", "1")
    filler = nearly_full(disk, left)
    assert code_of(*arguments, "--out", str(disk / "a")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"tribrain: {disk}")
    assert "the disk is full" in last or "No space left on device" in last
    filler.unlink()
    assert code_of(*arguments, "--out", str(disk / "a")) == 0
    assert len((disk / "a" / "trace.jsonl").read_bytes().splitlines()) == 7


def test_a_generator_that_cannot_be_started_for_lack_of_room_is_no_generator_that_failed(
    disk: Path, tmp_path: Path
) -> None:
    lock = disk / "generator.lock"
    lock.touch()
    fill(disk)
    with pytest.raises(OSError, match="No space left on device"):
        run_to_end(["true"], tmp_path / "generator.log", timeout_s=10.0, locks=[lock])


def test_what_the_spool_had_no_room_for_is_sent_when_the_run_goes_on(
    disk: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
    arguments = (
        *("run", "simulated", "--goal", "move the red cube to the bowl", "--iters", "6", "--seed", "1"),
        *("--out", str(disk / "a"), "--bootstrap-servers", settings.bootstrap_servers),
    )
    filler = nearly_full(disk, 160 << 10)
    assert code_of(*arguments) == 2
    recorded = (disk / "a" / "trace.jsonl").read_bytes().splitlines()
    assert recorded
    assert list(read_topic(settings, settings.trace_topic)) == []
    filler.unlink()
    monkeypatch.setattr(queue, "_SPARE_BYTES", 0)
    assert code_of(*arguments) == 0
    trace = (disk / "a" / "trace.jsonl").read_bytes().splitlines()
    assert sorted(message.value for message in read_topic(settings, settings.trace_topic)) == sorted(trace)
    assert trace[: len(recorded)] == recorded
    assert len(trace) == 7
