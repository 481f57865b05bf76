"""Which videos of finished runs can be used, and what becomes of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.codec import encode
from tests import factories
from tests.recorded_runs import GOAL, write_run, write_trace
from trainers.datasets.rewards import rate
from trainers.datasets.samples import FAILED, MISSING, OUTSIDE, folders_by_run, read_runs, samples_of
from trainers.datasets.selection import SelectionPolicy, select


def test_a_folder_of_runs_is_as_good_as_its_runs(tmp_path: Path) -> None:
    for folder, run_id in (("x", "b"), ("y", "a")):
        write_run(tmp_path / folder, [0.1, 0.2], run_id=run_id)
    whole = read_runs([tmp_path])
    assert [run.run_id for run in whole] == ["a", "b"]
    assert read_runs([tmp_path / "y", tmp_path / "x"]) == whole


def test_a_run_that_is_found_twice_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.1, 0.2])
    write_run(tmp_path / "copy", [0.1, 0.2], run_id="a")
    assert len(read_runs([tmp_path, tmp_path / "a"])) == 1


def folder_of_links(folder: Path) -> Path:
    """A run that a link leads to, one two folders down, and links to nowhere and in a circle."""
    write_run(folder / "elsewhere" / "one", [0.1], run_id="linked")
    write_run(folder / "runs" / "a" / "b", [0.1], run_id="deep")
    (folder / "runs" / "link").symlink_to(folder / "elsewhere" / "one")
    (folder / "runs" / "nowhere").symlink_to(folder / "gone")
    (folder / "runs" / "a" / "circle").symlink_to(folder / "runs")
    (folder / "runs" / "empty").mkdir()
    (folder / "runs" / "empty" / "trace.jsonl").symlink_to(folder / "gone")
    return folder / "runs"


def test_runs_are_found_at_any_depth_and_behind_links(tmp_path: Path) -> None:
    runs = folder_of_links(tmp_path)
    assert [run.run_id for run in read_runs([runs])] == ["deep", "linked"]


def test_a_run_is_found_by_its_id_wherever_it_is_found(tmp_path: Path) -> None:
    runs = folder_of_links(tmp_path)
    assert folders_by_run(runs) == {run.run_id: run.folder for run in read_runs([runs])}


def test_a_link_to_a_run_is_as_good_as_its_folder(tmp_path: Path) -> None:
    link = folder_of_links(tmp_path) / "link"
    assert [run.run_id for run in read_runs([link])] == list(folders_by_run(link)) == ["linked"]


def test_what_is_in_a_run_s_folder_is_no_run(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.1])
    (tmp_path / "a" / "iter_00").mkdir(exist_ok=True)
    (tmp_path / "a" / "iter_00" / "trace.jsonl").write_text("of the generator")
    assert [run.run_id for run in read_runs([tmp_path])] == ["a"]


def test_two_runs_of_one_id_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.1, 0.2])
    write_run(tmp_path / "b", [0.1, 0.3], run_id="a")
    with pytest.raises(BadInput, match="hold different runs with the id 'a'"):
        read_runs([tmp_path])


def test_a_run_that_was_stopped_at_once_has_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.1])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "trace.jsonl").touch()
    assert [run.run_id for run in read_runs([tmp_path])] == ["a"]


def test_a_line_that_is_there_twice_is_one_iteration(tmp_path: Path) -> None:
    (event,) = write_run(tmp_path / "a", [0.1])
    (tmp_path / "a" / "trace.jsonl").write_bytes((encode(event) + b"\n") * 2)
    samples, left_out = samples_of(read_runs([tmp_path]))
    assert len(samples) == 1
    assert not left_out


def test_a_video_that_a_judge_failed_on_is_worth_what_it_is_in_its_run(tmp_path: Path) -> None:
    """Also where the one that the judge liked least has no video any more."""
    overall = (0.55, 0.8, 0.4)
    said: list[dict[str, float | None]] = [
        {"eye.x": 0.9, "judge.x": 0.2},
        {"eye.x": 0.8, "judge.x": None},
        {"eye.x": 0.7, "judge.x": 0.1},
    ]
    write_run(tmp_path / "a", overall)
    write_trace(
        tmp_path / "a", [factories.event(i, overall[i], critics=scores) for i, scores in enumerate(said)]
    )
    (tmp_path / "a" / "iter_02" / "video.mp4").unlink()
    samples, _ = samples_of(read_runs([tmp_path]))
    assert [sample.critic_reward for sample in samples] == pytest.approx([0.55, 0.45])
    assert max(rate(samples), key=lambda rated: rated.reward).sample.event.iter_idx == 0


@pytest.mark.parametrize("failed", [0, 1])
def test_of_equal_videos_the_one_that_no_critic_failed_on_is_chosen(tmp_path: Path, failed: int) -> None:
    whole: dict[str, float | None] = {"eye.x": 0.5, "judge.x": 0.9}
    said = [whole | ({"judge.x": None} if idx == failed else {}) for idx in range(2)]
    overall = [0.5 if idx == failed else 0.7 for idx in range(2)]
    write_run(tmp_path / "a", overall)
    write_trace(
        tmp_path / "a", [factories.event(i, overall[i], critics=scores) for i, scores in enumerate(said)]
    )
    rated = rate(samples_of(read_runs([tmp_path]))[0])
    assert [one.reward for one in rated] == [0.7, 0.7]
    (best,) = select(rated, SelectionPolicy("per-task", 1))
    assert best.sample.event.iter_idx == 1 - failed


def test_failed_candidates_and_lost_videos_are_left_out_and_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.1, None, 0.2, 0.3])
    (tmp_path / "a" / "iter_03" / "video.mp4").unlink()
    samples, left_out = samples_of(read_runs([tmp_path]))
    assert [sample.event.iter_idx for sample in samples] == [0, 2]
    assert left_out == {FAILED: 1, MISSING: 1}


@pytest.mark.parametrize(
    "path",
    ["../elsewhere/video.mp4", "{root}/elsewhere/video.mp4", "link.mp4", "iter_00/../../elsewhere/video.mp4"],
)
def test_no_video_outside_its_run_is_taken(tmp_path: Path, path: str) -> None:
    events = write_run(tmp_path / "a", [0.1])
    write_run(tmp_path / "other", [0.1])
    (tmp_path / "other" / "iter_00").rename(tmp_path / "elsewhere")
    (tmp_path / "a" / "link.mp4").symlink_to(tmp_path / "elsewhere" / "video.mp4")
    hostile = replace(events[0], artifact_path=path.format(root=tmp_path))
    write_trace(tmp_path / "a", [hostile])
    samples, left_out = samples_of(read_runs([tmp_path / "a"]))
    assert samples == []
    assert left_out == {OUTSIDE: 1}


@pytest.mark.parametrize("path", ["", "iter_00", "no\0name", "x" * 5000])
def test_a_path_that_is_no_file_is_a_lost_video(tmp_path: Path, path: str) -> None:
    events = write_run(tmp_path / "a", [0.1])
    write_trace(tmp_path / "a", [replace(events[0], artifact_path=path)])
    samples, left_out = samples_of(read_runs([tmp_path]))
    assert samples == []
    assert left_out.total() == 1


def test_the_original_wrote_paths_that_begin_with_the_runs_folder(tmp_path: Path) -> None:
    events = write_run(tmp_path / "run1", [0.1])
    write_trace(tmp_path / "run1", [replace(events[0], artifact_path="run1/iter_00/video.mp4")])
    samples, _ = samples_of(read_runs([tmp_path]))
    assert [s.video for s in samples] == [tmp_path / "run1" / "iter_00" / "video.mp4"]


def test_a_sample_has_a_name_of_its_own_that_is_safe_for_files(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.1, 0.2], run_id="../../etc/passwd\n")
    write_run(tmp_path / "b", [0.1, 0.2])
    samples, _ = samples_of(read_runs([tmp_path]))
    assert len({s.id for s in samples}) == 4
    assert all(s.id.isalnum() and len(s.id) == 20 for s in samples)


def test_runs_that_name_no_task_are_of_their_goals_task(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.1])
    write_run(tmp_path / "b", [0.1], goal=f"  {GOAL.upper()} ")
    write_run(tmp_path / "c", [0.1], goal="another goal")
    write_run(tmp_path / "d", [0.1], task_id="task 7")
    samples, _ = samples_of(read_runs([tmp_path]))
    assert [s.task for s in samples] == [GOAL, GOAL, "another goal", "task 7"]


def test_a_run_without_a_goal_is_its_own_task() -> None:
    from trainers.datasets.samples import task_of

    event = factories.event(0, 0.1, run_id="r")
    assert task_of(replace(event, meta={"run_id": "r"})) == "r"
