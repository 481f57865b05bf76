"""The report of a demo: whole, honest, and safe to open."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from runner.loop.rescoring import revised
from runner.rewards.preference import PreferencePolicy
from streams.errors import BadInput
from streams.files import write_atomically
from streams.messages.codec import encode
from streams.messages.contracts import CriticResult, RunEnd, TraceEvent
from streams.messages.files import read_snapshot, read_trace
from tests import factories
from tests.tribrain.demo_files import HOSTILE_GOAL, RUN_IDS, write_demo, write_run, write_summary, write_trace
from tests.tribrain.report_page import ReportPage, assert_nothing_is_fetched, decoded, report_page
from trainers.bradley_terry.explain import explain
from trainers.online.train import train_on_pairs
from tribrain.demo.folder import read_demo
from tribrain.demo.report import build_report
from tribrain.figures.templates import LOOK
from tribrain.report import report
from tribrain.story.album import MOST_VIDEO_BYTES
from tribrain.story.course import best_so_far
from tribrain.story.report import MOST_ROWS, MOST_STORY_CHARS
from tribrain.story.traced_run import Steered

VOTES = [factories.pair({"goal.task": 0.9}, {"goal.task": 0.2}, task_id=f"task-{nth}") for nth in range(5)]


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def html(demo_folder: Path) -> str:
    return (demo_folder / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> ReportPage:
    return ReportPage(html)


def test_nothing_is_fetched_from_anywhere(page: ReportPage, html: str) -> None:
    assert_nothing_is_fetched(page, html)
    assert all((video["src"] or "").startswith("data:video/mp4;") for video in page.of("video"))


def test_the_one_script_is_the_one_that_the_page_allows(page: ReportPage, html: str) -> None:
    assert len(page.of("script")) == 1
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [meta["content"] or "" for meta in page.of("meta") if "http-equiv" in meta]
    assert f"script-src 'sha256-{digest}'" in policy
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_every_plot_is_drawn_in_the_colours_of_the_page_and_has_a_text(page: ReportPage, html: str) -> None:
    plots = [element for element in page.of("div") if element.get("class") == "plot"]
    assert len(plots) == 4
    assert all(len(plot["aria-label"] or "") > 20 for plot in plots)
    drawn = html.split('class="plot"')[1].split("</svg>")[0]
    assert "var(--accent)" in drawn
    assert re.findall(r"#[0-9a-f]{6}", drawn) == []


@pytest.mark.parametrize(("tasks", "words"), [(2, "2 were planned"), (5, "of 5 that were planned")])
def test_runs_beyond_the_plan_are_not_said_to_be_planned(tasks: int, words: str, tmp_path: Path) -> None:
    write_demo(tmp_path)
    runs = orjson.loads((tmp_path / "summary.json").read_bytes())["runs"]
    write_summary(tmp_path, runs, tasks=tasks)
    build_report(tmp_path)
    assert f'<b>3</b><span class="quiet small">{words}<' in (tmp_path / "report.html").read_text()


def test_it_looks_as_the_page_does(html: str) -> None:
    assert (LOOK / "look.css").read_text() in html


def test_every_run_has_its_row_and_its_best_video(page: ReportPage, demo_folder: Path) -> None:
    best = {"run-a": 1, "run-b": 2, "run-c": 1}
    assert [row.id for row in page.rows] == ["run-1", "run-2", "run-3"]
    for row, (run_id, i) in zip(page.rows, best.items(), strict=True):
        assert run_id in row.summary
        video = demo_folder / "runs" / run_id / f"iter_{i:02d}" / "video.mp4"
        assert decoded(row.of("video")[0]["src"]) == video.read_bytes()


def test_a_row_says_whether_the_model_steered_and_what_first_and_best_are_worth(page: ReportPage) -> None:
    not_steered, partly, throughout = page.rows
    truth = "True quality 0.25 → 0.26 Iterations 3"
    assert f"Critics' score 0.30 → 0.50 {truth} not steered" in not_steered.summary
    assert "partly steered" in partly.summary
    assert f"Critics' score 0.20 → 0.70 {truth} steered" in throughout.summary


def test_a_hostile_goal_is_shown_as_text(page: ReportPage, html: str) -> None:
    assert HOSTILE_GOAL in page.rows[1].summary
    assert "<script>alert" not in html
    assert "<img src=x" not in html


def test_it_says_that_the_world_is_simulated(page: ReportPage) -> None:
    assert "The world is simulated" in page.text
    assert "Labels by validators come from its simulated validator" in page.text
    assert "No person voted." in page.text


def voter(name: str, votes: int, error_rate: float | None) -> dict[str, Any]:
    known = {"errors": None, "compared": 4, "agreed": 3, "weight": 0.75}
    return {"name": name, "votes": votes, "error_rate": error_rate, **known}


def people(*annotators: dict[str, Any]) -> dict[str, Any]:
    return {"votes": 0, "alpha": None, "alpha_ci95": None, "annotators": list(annotators)}


def test_it_says_who_voted_and_which_of_them_are_programs(tmp_path: Path) -> None:
    voted = people(
        voter("Ann", 3, None), voter("", 2, None), voter("careful", 20, 0.05), voter("idle", 0, 0.2)
    )
    write_summary(tmp_path, [], people=voted, pairs_by_label_source={"human": 25})
    text = report_page(build_report(tmp_path)).text
    assert "2 people gave 5 votes, which nothing here simulates." in text
    assert "1 simulated annotator gave 20 votes" in text
    assert "No person voted" not in text
    assert "validator" not in text.partition("What is simulated")[2]
    assert "Ann 3 a person 3 of 4 0.75" in text
    assert "somebody without a name 2 a person" in text
    assert "careful 20 a program, wrong in 5%" in text
    assert "idle" not in text


@pytest.mark.parametrize("voted", [None, people()])
def test_where_nobody_voted_there_is_no_table_of_voters(voted: dict[str, Any] | None, tmp_path: Path) -> None:
    write_summary(tmp_path, [], people=voted)
    text = report_page(build_report(tmp_path)).text
    assert "No person voted." in text
    assert "Who voted" not in text


def test_it_says_when_an_open_gate_closes_again(page: ReportPage) -> None:
    assert "An open gate closes again on strong evidence (1,000)" in page.text
    assert "stays open" not in page.text


def test_versions_and_snapshots_are_told_apart(page: ReportPage) -> None:
    assert "Versions have gaps, as only some are published" in page.text
    assert "Snapshots published 2, the first after 1.5 s" in page.text


def test_a_critic_is_told_by_its_odds_with_their_interval(page: ReportPage, demo_folder: Path) -> None:
    snapshot = read_snapshot(demo_folder / "bt_reward.json")
    (effect,) = explain(snapshot).effects
    assert effect.odds_ratio_ci95 is not None
    low, high = effect.odds_ratio_ci95
    assert f"goal: task ×{effect.odds_ratio:.2f} ({low:.2f} to {high:.2f})" in page.text
    assert "Whether a higher score of goal: task makes a video preferred is not known yet." in page.text


def test_runs_are_grouped_by_when_they_were_steered(demo_folder: Path) -> None:
    groups: list[Steered] = ["never", "partly", "throughout"]
    assert [run.steered for run in read_demo(demo_folder).runs] == groups


def test_a_course_follows_the_best_so_far(demo_folder: Path) -> None:
    (first, *_) = read_demo(demo_folder).runs
    assert first.scores == [0.3, 0.5, 0.5]
    assert first.qualities == [0.25, 0.26, 0.26]


@pytest.mark.parametrize("failed", [0, 1])
def test_where_a_trace_names_no_best_a_fully_judged_one_is_the_best_of_equals(failed: int) -> None:
    said: dict[bool, dict[str, float | None]] = {
        True: {"eye.x": 0.5, "judge.x": None},
        False: {"eye.x": 0.5, "judge.x": 0.9},
    }
    events = [factories.event(i, 0.5 if i == failed else 0.7, critics=said[i == failed]) for i in range(2)]
    best = best_so_far(events)[-1]
    assert best is not None
    assert best.iter_idx == 1 - failed


def test_an_interrupted_run_is_in_no_group(tmp_path: Path) -> None:
    write_summary(tmp_path, [write_run(tmp_path, "run-a", [0.3, 0.5], [0, 1], "a goal")])
    trace = tmp_path / "runs" / "run-a" / "trace.jsonl"
    trace.write_bytes(trace.read_bytes().replace(b"max_iters", b"interrupted"))
    assert read_demo(tmp_path).runs[0].steered == "cut short"


def test_a_folder_with_nothing_but_a_summary_still_gives_a_report(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {
        "gate_opened_at_pair": None, "first_snapshot_s": None,
        "log_loss": None, "log_loss_critics_mean": None, "interrupted": True,
    }  # fmt: skip
    write_summary(tmp_path, [], **nothing)
    page = report_page(build_report(tmp_path))
    assert "This demo was interrupted" in page.text
    assert "No run had finished, so there is nothing to tell." in page.text
    assert "No model was published" in page.text
    assert page.of("video") == []


def test_a_run_that_left_no_trace_still_has_its_row(tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a", [0.3], [0], "a goal")
    (tmp_path / "runs" / "run-a" / "trace.jsonl").write_bytes(b"")
    write_summary(tmp_path, [run])
    (row,) = report_page(build_report(tmp_path)).rows
    assert "a goal" in row.summary
    assert "cut short" in row.summary
    assert "It had no iteration." in row.text


def test_a_run_without_truths_is_told_by_its_scores_alone(tmp_path: Path) -> None:
    write_demo(tmp_path)
    for truth in tmp_path.rglob("truth.json"):
        truth.unlink()
    page = report_page(build_report(tmp_path))
    alts = [element["aria-label"] or "" for element in page.of("div") if element.get("class") == "plot"]
    assert any("Critics' score above the first video" in alt for alt in alts)
    assert not any("True quality above" in alt for alt in alts)
    assert "True quality" not in page.rows[0].summary
    assert "Every run climbs this very score, so a rise is no proof of better videos." in page.text


def test_videos_that_do_not_fit_are_links_beside_the_report_with_their_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [write_run(tmp_path, run_id, [0.5], [0], "a goal") for run_id in RUN_IDS]
    write_summary(tmp_path, runs)
    one = (tmp_path / "runs" / "run-a" / "iter_00" / "video.mp4").stat().st_size
    monkeypatch.setattr("tribrain.story.album.MOST_VIDEO_BYTES", one)
    written = build_report(tmp_path)
    page = report_page(written)
    assert (written.videos, written.videos_in_file) == (3, 1)
    assert len(page.of("video")) == 1
    assert "it holds 1 of 3 videos" in page.text
    links = [link["href"] for row in page.rows[1:] for link in row.of("a")]
    assert links == [f"runs/{run}/iter_00/video.mp4" for run in ("run-b", "run-c") for _ in ("head", "step")]
    assert all((tmp_path / str(link)).is_file() for link in links)
    assert "Open the video (1 kB)" in page.rows[1].text


def test_stories_that_do_not_fit_leave_rows_and_best_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_demo(tmp_path)
    monkeypatch.setattr("tribrain.story.report.MOST_STORY_CHARS", 1)
    written = build_report(tmp_path)
    page = report_page(written)
    assert written.stories == 0
    assert len(page.rows) == 3
    assert "Its iterations are left out to keep this file small." in page.rows[2].text
    assert [len(row.of("video")) for row in page.rows] == [1, 1, 1]


def test_a_report_lists_so_many_runs_at_most_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_demo(tmp_path)
    monkeypatch.setattr("tribrain.story.report.MOST_ROWS", 2)
    page = report_page(build_report(tmp_path))
    assert len(page.rows) == 2
    assert "it lists the first 2 of 3 runs" in page.text


def test_a_video_outside_the_run_is_not_embedded(tmp_path: Path) -> None:
    write_summary(tmp_path, [write_run(tmp_path, "run-a", [0.5], [0], "a goal")], weights={})
    (tmp_path / "secret").write_bytes(b"not to be shown")
    event = replace(factories.event(0, 0.5), artifact_path="../../secret")
    write_trace(tmp_path, event)
    assert report_page(build_report(tmp_path)).of("video") == []


def test_no_summary_is_bad_input_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"summary\.json: no such file") as caught:
        build_report(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"events": "many"}', b"\xff", b'{"broker": "\xff"}'])
def test_a_damaged_summary_is_bad_input_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"summary\.json: the file is damaged"):
        build_report(tmp_path)


def test_a_damaged_history_is_bad_input_that_names_the_line(tmp_path: Path) -> None:
    write_summary(tmp_path, [])
    (tmp_path / "history.jsonl").write_bytes(b'\n{"gate": "ajar"}\n')
    with pytest.raises(BadInput, match=r"history\.jsonl@line 2"):
        build_report(tmp_path)


@pytest.mark.parametrize("run_id", ["", "..", "../elsewhere", "/etc", "a\0b"])
def test_a_run_id_that_is_no_folder_name_is_bad_input(tmp_path: Path, run_id: str) -> None:
    write_summary(tmp_path, [write_run(tmp_path, "run-a", [0.5], [0], "a goal") | {"run_id": run_id}])
    with pytest.raises(BadInput, match="run_id"):
        build_report(tmp_path)


def test_the_same_folder_gives_the_same_bytes(demo_folder: Path, html: str) -> None:
    assert build_report(demo_folder).path.read_text() == html


def test_the_command_says_what_it_made(demo_folder: Path) -> None:
    result = CliRunner().invoke(report, [str(demo_folder), "--json"])
    assert orjson.loads(result.stdout) == {
        "report": str(demo_folder / "report.html"),
        "kind": "Demo",
        "runs": 3,
        "videos": 9,
        "videos_in_file": 9,
        "stories": 3,
        "bytes": (demo_folder / "report.html").stat().st_size,
    }


def test_what_counts_on_each_dimension_is_told_apart(tmp_path: Path) -> None:
    write_demo(tmp_path)
    hostile = "<script>alert(1)</script>"
    physics = [replace(pair, dimension=name) for pair in VOTES for name in ("physics", hostile)]
    write_atomically(tmp_path / "bt_reward.json", encode(train_on_pairs([*VOTES, *physics])))
    written = build_report(tmp_path)
    page = report_page(written)
    assert page.text.count("Which critics it trusts") == 3
    assert "What counts where people judge physics alone" in page.text
    assert f"What counts where people judge {hostile} alone" in page.text
    assert hostile not in written.path.read_text()


def test_a_run_that_was_rescored_is_told_by_its_new_scores(tmp_path: Path) -> None:
    write_demo(tmp_path)
    trace = tmp_path / "runs" / "run-a" / "trace.jsonl"
    events = [message for message in read_trace(trace) if isinstance(message, TraceEvent)]
    end = RunEnd(run_id="run-a", iterations=tuple(event.iter_idx for event in events))
    judged = {0: [CriticResult(critic_name="overall", scores={"quality": 1.0})]}
    given: dict[str, Any] = {"required": (), "policy": PreferencePolicy(), "run_dir": trace.parent}
    again, new_end = revised(events, end, judged, revision=1, **given)
    lines: list[TraceEvent | RunEnd] = [end, *again, new_end]
    trace.write_bytes(trace.read_bytes() + b"".join(encode(line) + b"\n" for line in lines))
    run = read_demo(tmp_path).runs[0]
    assert run.best is not None
    assert run.best.iter_idx == 0
    assert run.scores == [1.0] * len(events)


def test_a_text_reward_that_was_trained_beside_the_runs_is_told(tmp_path: Path) -> None:
    write_demo(tmp_path)
    adapter = {
        "version": 2, "gate": "shadow", "statement": "", "published_s": 31.4, "train_pairs": 117,
        "held_out_pairs": 22, "log_loss": {"LoRA": 0.61, "n-grams": 0.6}, "scored": 9, "first_scored_s": None,
    }  # fmt: skip
    text_reward = {"base_model": "small", "every_pairs": 100, "adapters": [adapter], "runs_that_swapped": 3}
    summary = orjson.loads((tmp_path / "summary.json").read_bytes())
    (tmp_path / "summary.json").write_bytes(orjson.dumps(summary | {"text_reward": text_reward}))
    page = report_page(build_report(tmp_path))
    assert "2 31 s shadow 117 9 LoRA 0.610, n-grams 0.600" in page.text


def test_runs_beyond_the_plan_of_a_demo_with_lora_are_explained(tmp_path: Path) -> None:
    write_demo(tmp_path)
    runs = orjson.loads((tmp_path / "summary.json").read_bytes())["runs"]
    write_summary(tmp_path, runs, tasks=2)
    summary = orjson.loads((tmp_path / "summary.json").read_bytes())
    text_reward = {"base_model": "small", "every_pairs": 100, "adapters": [], "runs_that_swapped": 0}
    (tmp_path / "summary.json").write_bytes(orjson.dumps(summary | {"text_reward": text_reward}))
    page = report_page(build_report(tmp_path))
    assert "2 were planned; --lora adds runs while none has used an adapter" in page.text


def test_a_report_stays_below_40_mb_whatever_the_runs_hold(tmp_path: Path) -> None:
    limits = MOST_VIDEO_BYTES * 4 / 3 + MOST_STORY_CHARS + MOST_ROWS * 3_500
    assert limits < 40e6
    write_summary(tmp_path, [write_run(tmp_path, "run-a", [0.5], [0], "a goal " * 100_000)])
    written = build_report(tmp_path)
    assert written.bytes < 500_000
