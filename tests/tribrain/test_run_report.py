"""The report of a run's folder, whatever became of the run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from runner.video import write_video
from streams.errors import BadInput
from streams.messages.codec import encode
from streams.messages.contracts import CriticResult, RunEnd, TraceEvent
from tests import factories
from tests.recorded_runs import footage, write_run
from tests.trainers.pairs.test_votes import vote
from tests.tribrain.report_page import ReportPage, assert_nothing_is_fetched, report_page
from tribrain.report import report
from tribrain.run.report import build_run_report
from tribrain.story.stills import telling_frame
from tribrain.story.traced_run import read_traced

HOSTILE = "</script></style><img src=x onerror=alert(1)>\"' {{ 7 * 7 }}"


def written(folder: Path, messages: Sequence[TraceEvent | RunEnd]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trace.jsonl").write_bytes(b"".join(encode(message) + b"\n" for message in messages))
    return folder


def told(folder: Path) -> ReportPage:
    return report_page(build_run_report(folder))


def test_a_run_is_told_iteration_by_iteration_and_open(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.7, 0.6], run_id="a-run")
    page = told(tmp_path)
    (row,) = page.rows
    assert (
        "The best of 3 videos is iteration 1, with a critics' score of 0.70; the first had 0.40." in page.text
    )
    assert "open" in row.of("details")[0]
    assert [article["id"] for article in row.of("article")] == [f"run-1-step-{i}" for i in range(3)]
    assert "Best before: iteration 1" in row.text
    # The best one at the top of the run, and the others beside their iterations.
    assert len(row.of("video")) == 3
    assert "Plays at the top of this run" in row.text


def test_a_prompt_is_told_by_what_changed(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.7], goal="put the cup away")
    html = build_run_report(tmp_path).path.read_text()
    assert "<ins>\nRequirements:\n- task: step 1.</ins>" in html
    assert "<del>" not in html


def test_where_the_model_changed_is_said_there_and_not_at_the_first(tmp_path: Path) -> None:
    metas = [(7, "shadow"), (7, "shadow"), (9, "active")]
    events = [
        replace(event, meta=event.meta | {"reward_version": version, "reward_gate": gate})
        for event, (version, gate) in zip([factories.event(i, 0.5) for i in range(3)], metas, strict=True)
    ]
    text = told(written(tmp_path, events)).text
    assert "model version 7, which only watches" in text
    assert text.count("Model changed") == 1
    assert "model version 9 Model changed" in text


def test_a_model_that_steered_though_its_gate_is_shut_is_not_said_to_watch(tmp_path: Path) -> None:
    """As a model in a file does; of the first iteration it had nothing to say."""
    events = [
        replace(
            event,
            meta=event.meta
            | {"reward_version": 7, "reward_gate": "shadow", "preference_confidence": 0.4 * event.iter_idx},
        )
        for event in [factories.event(i, 0.5) for i in range(2)]
    ]
    text = told(written(tmp_path, events)).text
    assert "model version 7" in text
    assert "only watches" not in text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("max_iters", "It made all its iterations."),
        ("patience", "Its videos got no better for a while."),
        ("interrupted", "Somebody stopped it."),
        ("the moon", "It ended: the moon."),
        ("", "It ended; the reason was not recorded."),
    ],
)
def test_it_says_why_a_run_stopped(tmp_path: Path, reason: str, words: str) -> None:
    end = RunEnd(run_id="run-a", iterations=(0,), stop_reason=reason)
    assert words in told(written(tmp_path, [factories.event(0, 0.5), end])).text


def test_whatever_stands_in_a_trace_is_text(tmp_path: Path) -> None:
    event = factories.event(0, 0.5, run_id=HOSTILE, critics={f"{HOSTILE}.mode": 0.5})
    critic = CriticResult(critic_name=HOSTILE, scores={HOSTILE: 0.5}, notes=HOSTILE)
    event = replace(
        event,
        prompt=HOSTILE,
        critic_results=(critic,),
        meta=event.meta | {"goal_instruction": HOSTILE, "error": HOSTILE},
    )
    other = replace(event, iter_idx=1, prompt="else", artifact_path="javascript:alert(1)/\"x'.mp4")
    (tmp_path / "javascript:alert(1)").mkdir(parents=True)
    (tmp_path / "javascript:alert(1)" / "\"x'.mp4").write_bytes(b"no video")
    result = build_run_report(written(tmp_path, [event, other]))
    page, html = report_page(result), result.path.read_text()
    assert_nothing_is_fetched(page, html)
    assert "{{ 7 * 7 }}" in page.rows[0].summary
    assert len(page.of("script")) == 0
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert not any((link["href"] or "").startswith("javascript") for link in page.of("a"))


def test_a_trace_that_was_cut_off_anywhere_is_told_as_far_as_it_came(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.7, 0.6], run_id="a-run", goal="put the cup in the sky — é")
    whole = (tmp_path / "trace.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(1, len(whole), 7):
        (tmp_path / "trace.jsonl").write_bytes(whole[:cut])
        runs = read_traced(tmp_path)
        # A line that lacks its end alone is whole.
        known = sum(end - 1 <= cut for end in ends[:3])
        assert [len(run.events) for run in runs] == ([known] if known else [])
        assert all(run.stop_reason is None for run in runs if cut < len(whole) - 1)


def test_a_run_without_an_end_is_told_as_one(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.7], run_id="a-run")
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(trace.read_bytes()[:-20])
    page = told(tmp_path)
    assert "Its trace has no end: it is still running, or was cut off." in page.text
    assert "cut short" in page.rows[0].summary


def test_a_damaged_line_before_others_is_bad_input_that_names_it(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.7])
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(b"{broken\n" + trace.read_bytes())
    with pytest.raises(BadInput, match="line 1"):
        build_run_report(tmp_path)


def test_one_iteration_is_told_without_a_gain(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4])
    page = told(tmp_path)
    assert "One video was made; its critics' score is 0.40." in page.text
    assert page.of("form") == []


def test_videos_that_nobody_could_judge_are_told_with_their_errors(tmp_path: Path) -> None:
    page = told(written(tmp_path, factories.run([None, None])))
    assert "Of 2 videos, none could be judged." in page.text
    assert "No video could be judged. no video" in page.text
    assert "(2 failed)" in page.rows[0].summary


def test_a_run_whose_first_video_failed_has_a_best_and_no_gain(tmp_path: Path) -> None:
    page = told(written(tmp_path, factories.run([None, 0.6])))
    assert "The best of 2 videos is iteration 1" in page.text
    assert "the first could not be judged" in page.text
    assert "Critics' score – → 0.60" in page.rows[0].summary


def test_a_run_whose_first_video_is_the_best_says_that_nothing_was_better(tmp_path: Path) -> None:
    assert "is the first, iteration 0" in told(written(tmp_path, factories.run([0.6, 0.5]))).text


def test_a_critic_without_a_score_shows_none(tmp_path: Path) -> None:
    event = factories.event(0, 0.5, critics={"eye.x": 0.5, "judge.y": None})
    (row,) = told(written(tmp_path, [event])).rows
    assert "judge: y –" in row.text
    assert [meter["value"] for meter in row.of("meter")] == ["0.5"]


def test_a_folder_of_runs_is_told_together_and_a_typical_one_first(tmp_path: Path) -> None:
    for name, scores in (("a", [0.1, 0.9]), ("b", [0.4, 0.5]), ("c", [0.4, 0.6])):
        write_run(tmp_path / name, scores)
    page = told(tmp_path)
    assert [row.summary.split()[6] for row in page.rows] == ["a", "b", "c"]
    assert "In 3 of 3 runs a later video was scored higher than the first." in page.text
    assert "First video, 0.40" in page.text
    assert "Best video, 0.60" in page.text
    assert "#run-3" in [link["href"] for link in page.of("a")]


def test_several_runs_in_one_trace_are_told_apart(tmp_path: Path) -> None:
    messages = [*factories.run([0.4, 0.7], "a"), *factories.run([0.5, 0.6], "b")]
    assert len(told(written(tmp_path, messages)).rows) == 2


def test_two_runs_of_one_id_have_each_their_own_videos(tmp_path: Path) -> None:
    for name, picture in (("a", 1), ("copy", 2)):
        write_run(tmp_path / name, [0.4], run_id="one", pictures={0: picture})
    first, second = told(tmp_path).rows
    assert first.of("video")[0]["src"] != second.of("video")[0]["src"]


def test_a_video_that_no_browser_plays_is_a_link(tmp_path: Path) -> None:
    event = replace(factories.event(0, 0.5), artifact_path="a film.avi")
    written(tmp_path, [event])
    write_video(tmp_path / "a.mp4", footage(1), 8.0)
    (tmp_path / "a.mp4").rename(tmp_path / "a film.avi")
    page = told(tmp_path)
    assert page.of("video") == []
    assert "a%20film.avi" in [link["href"] for link in page.of("a")]


def test_a_report_holds_no_more_than_it_may_however_large_the_videos_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, [0.4, 0.5, 0.6])
    sizes = [(tmp_path / f"iter_{i:02d}" / "video.mp4").stat().st_size for i in range(3)]
    monkeypatch.setattr("tribrain.story.album.MOST_VIDEO_BYTES", sizes[2] + min(sizes[:2]) - 1)
    result = build_run_report(tmp_path)
    assert (result.videos, result.videos_in_file) == (3, 1)
    # The best goes first.
    assert report_page(result).rows[0].of("video")[0]["aria-label"] == "Best video"


@pytest.mark.parametrize(
    ("frames", "index"),
    [
        (footage(1), -1),
        (np.concatenate([footage(1), np.zeros_like(footage(2))[:3]]), 7),
        (np.zeros((4, 8, 8, 3), np.uint8), -1),
    ],
)
def test_a_still_is_the_last_frame_on_which_anything_is_to_be_seen(frames: Any, index: int) -> None:
    assert np.array_equal(telling_frame(frames), frames[index])


def test_a_video_that_cannot_be_decoded_has_no_still_and_is_still_there(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4])
    video = tmp_path / "iter_00" / "video.mp4"
    video.write_bytes(video.read_bytes()[:200])
    page = told(tmp_path)
    assert "poster" not in page.of("video")[0]


def test_the_command_takes_the_folder_of_a_run(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.5])
    result = CliRunner().invoke(report, [str(tmp_path), "--json"])
    said = orjson.loads(result.stdout)
    assert (said["kind"], said["runs"], said["videos"], said["videos_in_file"]) == ("Run", 1, 2, 2)
    result = CliRunner().invoke(report, [str(tmp_path)])
    assert "report.html: 1 run, 2 of 2 videos in it, " in result.stdout


def write_votes(file: Path) -> None:
    """Two of Ann's on the run, one of which she takes back, one of a program, and one on another run."""
    votes = [
        vote(vote_id="1", annotator="Ann"),
        vote(vote_id="2", annotator="Ann", left_iter_idx=1),
        vote(vote_id="3", annotator="Ann", takes_back="2", answer=None),
        vote(vote_id="4", annotator="careful", meta={"simulated": True}),
        vote(vote_id="5", annotator="Ann", left_run_id="run-c"),
    ]
    file.write_bytes(b"".join(encode(each) + b"\n" for each in votes))


@pytest.mark.parametrize("place", ["run", "demo", "elsewhere"])
def test_it_says_who_voted_on_a_run_wherever_its_votes_are(place: str, tmp_path: Path) -> None:
    demo, folder = tmp_path / "demo", tmp_path / "demo" / "runs" / "run-a"
    folder.mkdir(parents=True)
    write_run(folder, [0.4, 0.5])
    (demo / ".tribrain-demo").touch()
    file = {"run": folder, "demo": demo, "elsewhere": tmp_path}[place] / "votes.jsonl"
    write_votes(file)
    options = ["--votes-file", str(file)] if place == "elsewhere" else []
    result = CliRunner().invoke(report, [str(folder), *options])
    assert result.exit_code == 0, result.output
    text = ReportPage((folder / "report.html").read_text()).text
    assert "Ann 1 a person" in text
    assert "careful 1 a program" in text


def test_a_run_without_votes_has_no_table_of_voters(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.5])
    assert "Who voted" not in told(tmp_path).text


def test_votes_that_are_no_votes_are_bad_input(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.5])
    (tmp_path / "votes.jsonl").write_text("{}")
    result = CliRunner().invoke(report, [str(tmp_path)])
    assert isinstance(result.exception, BadInput)
    assert "votes.jsonl@line 1: " in str(result.exception)


def test_a_given_file_without_votes_is_bad_input(tmp_path: Path) -> None:
    write_run(tmp_path, [0.4, 0.5])
    (tmp_path / "none.jsonl").touch()
    result = CliRunner().invoke(report, [str(tmp_path), "--votes-file", str(tmp_path / "none.jsonl")])
    assert "none.jsonl: holds no votes" in str(result.exception)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("trace", [None, b"", b'{"half'])
def test_a_folder_without_a_run_is_bad_input(tmp_path: Path, trace: bytes | None) -> None:
    if trace is not None:
        (tmp_path / "trace.jsonl").write_bytes(trace)
    with pytest.raises(BadInput, match="give a run's folder"):
        build_run_report(tmp_path)


def test_a_recorded_run_of_tribrain_0_6_2_is_told_without_its_videos(tmp_path: Path) -> None:
    data = os.environ.get("TRIBRAIN_DATA")
    if data is None:
        pytest.skip("set TRIBRAIN_DATA to a folder with tribrain_0_6_2/")
    shutil.copy(Path(data) / "tribrain_0_6_2" / "trace.jsonl", tmp_path)
    page = told(tmp_path)
    (row,) = page.rows
    assert "pick up the red cube 1" in row.summary
    assert "No video of this run is in its folder." in row.text
    assert "temporal_jitter: smoothness 0.63" in row.text
    assert "It ended; the reason was not recorded." in row.text
    assert "cut short" not in row.summary


@pytest.mark.parametrize(
    ("scores", "typical"),
    [
        ({"a": [0.1, 0.9], "b": [0.4, 0.5], "c": [0.4, 0.6]}, "#run-3"),
        ({"a": [0.4, 0.5], "b": [0.4, 0.9]}, "#run-1"),
        # The one in the middle gained nothing, so no other stands for it.
        ({"a": [0.6, 0.4], "b": [0.7, 0.5], "c": [0.4, 0.9]}, None),
    ],
)
def test_a_report_begins_with_the_run_whose_gain_is_the_median(
    tmp_path: Path, scores: dict[str, list[float]], typical: str | None
) -> None:
    for name, of_run in scores.items():
        write_run(tmp_path / name, of_run)
    page = told(tmp_path)
    runs = [link["href"] for link in page.of("a") if link["href"] in ("#run-1", "#run-2", "#run-3")]
    assert runs == ([typical] if typical else [])


def test_each_dimension_is_shown_apart(tmp_path: Path) -> None:
    on = {"a=b,<i>": {"prob": 0.62, "confidence": 0.4}, "beauty": {"prob": 0.3, "confidence": 0.0}}
    first, second = factories.event(0, 0.4), factories.event(1, 0.5)
    page = told(
        written(tmp_path, [first, replace(second, meta=second.meta | {"preference_by_dimension": on})])
    )
    assert "On a=b,<i>: preferred to another of the run with a probability of 62%" in page.text
    assert "On beauty: preferred to another of the run with a probability of 30%, which changes nothing" in (
        page.text
    )
    assert page.text.count("preferred to another of the run") == 2


@pytest.mark.parametrize(
    "on",
    [
        None,
        3,
        [],
        {"a": 1},
        {"a": {"prob": 2.0, "confidence": 0.5}},
        {"a": {"prob": None, "confidence": 0.5}},
    ],
)
def test_what_is_no_word_on_dimensions_is_passed_over(on: object, tmp_path: Path) -> None:
    event = factories.event(0, 0.4)
    event = replace(event, meta=event.meta | {"preference_by_dimension": on})
    assert "preferred to another of the run" not in told(written(tmp_path, [event])).text
