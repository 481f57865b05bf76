"""The report of a demo: whole, honest, and safe to open."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
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
from streams.messages.files import read_trace
from tests import factories
from tests.tribrain.demo_files import HOSTILE_GOAL, RUN_IDS, write_demo, write_run, write_summary, write_trace
from trainers.online.train import train_on_pairs
from tribrain.demo.folder import Group, read_demo
from tribrain.demo.report import build_report
from tribrain.report import report

VOTES = [factories.pair({"goal.task": 0.9}, {"goal.task": 0.2}, task_id=f"task-{nth}") for nth in range(5)]


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of each table row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows:
            self.rows[-1] += " ".join(data.split()) + " "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, run_id: str) -> str:
        (row,) = [row for row in self.rows if row.split()[:1] == [run_id]]
        return " ".join(row.split())


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
def page(html: str) -> Page:
    return Page(html)


def test_nothing_is_fetched_from_anywhere(page: Page, html: str) -> None:
    addresses = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "poster", "data", "action"}
    ]
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_there_is_no_script(page: Page) -> None:
    assert page.of("script") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_every_picture_is_a_png_with_an_alternative_text(page: Page) -> None:
    pictures = page.of("img")
    assert len(pictures) == 4
    for picture in pictures:
        assert decoded(picture["src"]).startswith(b"\x89PNG")
        assert len(picture["alt"] or "") > 20


def test_every_run_has_its_row_and_its_best_video(page: Page, demo_folder: Path) -> None:
    best = {"run-a": 1, "run-b": 2, "run-c": 1}
    assert all(page.row(run_id) for run_id in RUN_IDS)
    assert [decoded(video["src"]) for video in page.of("video")] == [
        (demo_folder / "runs" / run_id / f"iter_{i:02d}" / "video.mp4").read_bytes()
        for run_id, i in best.items()
    ]


def test_a_row_says_from_which_iteration_a_snapshot_was_in_use(page: Page) -> None:
    assert "none from iteration 0" in page.row("run-a")
    assert "v12 from iteration 2" in page.row("run-a")


def test_a_row_says_whether_the_model_steered_and_what_the_best_is_worth(page: Page) -> None:
    assert "at 2 of 3 0.700 0.260" in page.row("run-c")
    assert " no 0.500 0.260" in page.row("run-a")


def test_a_hostile_goal_is_shown_as_text(page: Page, html: str) -> None:
    assert HOSTILE_GOAL in page.row("run-b")
    assert "<script" not in html


def test_it_says_that_the_world_is_simulated(page: Page) -> None:
    assert "The world is simulated" in page.text
    assert "simulated validator, not from people" in " ".join(page.text.split())


def test_runs_are_grouped_by_when_they_were_steered(demo_folder: Path) -> None:
    groups: list[Group] = ["never", "between", "throughout"]
    assert [run.group for run in read_demo(demo_folder).runs] == groups


def test_a_course_follows_the_best_so_far(demo_folder: Path) -> None:
    (first, *_) = read_demo(demo_folder).runs
    assert first.scores == (0.3, 0.5, 0.5)
    assert first.qualities == (0.25, 0.26, 0.26)


def test_an_interrupted_run_is_in_no_group(tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a", [0.3, 0.5], [0, 1], "a goal")
    write_summary(tmp_path, [run | {"stop_reason": "interrupted"}])
    assert read_demo(tmp_path).runs[0].group == "cut short"


def test_a_folder_with_nothing_but_a_summary_still_gives_a_report(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {
        "weights": {}, "gate": None, "gate_opened_at_pair": None, "first_snapshot_s": None,
        "log_loss": None, "log_loss_critics_mean": None, "interrupted": True,
    }  # fmt: skip
    write_summary(tmp_path, [], **nothing)
    page = Page(build_report(tmp_path).read_text())
    assert "This demo was interrupted" in page.text
    assert page.of("img") == []


def test_a_run_that_left_no_trace_still_has_its_row(tmp_path: Path) -> None:
    run = write_run(tmp_path, "run-a", [0.3], [0], "a goal")
    (tmp_path / "runs" / "run-a" / "trace.jsonl").write_bytes(b"")
    write_summary(tmp_path, [run | {"iterations": 0, "best_iter": None, "best_score": None, "versions": []}])
    assert "no video" in Page(build_report(tmp_path).read_text()).row("run-a")


def test_a_run_without_truths_is_drawn_by_its_scores_alone(tmp_path: Path) -> None:
    write_summary(tmp_path, [write_run(tmp_path, "run-a", [0.3, 0.5], [0, 0], "a goal")])
    for truth in tmp_path.rglob("truth.json"):
        truth.unlink()
    page = Page(build_report(tmp_path).read_text())
    (alt,) = [picture["alt"] or "" for picture in page.of("img") if "iteration" in (picture["alt"] or "")]
    assert "critics' score" in alt
    assert "true quality" not in alt


def test_too_many_videos_are_left_out_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [write_run(tmp_path, run_id, [0.5], [0], "a goal") for run_id in RUN_IDS]
    write_summary(tmp_path, runs, weights={})
    one = (tmp_path / "runs" / "run-a" / "iter_00" / "video.mp4").stat().st_size
    monkeypatch.setattr("tribrain.figures.page._MAX_VIDEO_BYTES", one)
    page = Page(build_report(tmp_path).read_text())
    assert len(page.of("video")) == 1
    assert "the first 1 runs of 3" in " ".join(page.text.split())


def test_a_video_outside_the_run_is_not_embedded(tmp_path: Path) -> None:
    write_summary(tmp_path, [write_run(tmp_path, "run-a", [0.5], [0], "a goal")], weights={})
    (tmp_path / "secret").write_bytes(b"not to be shown")
    event = replace(factories.event(0, 0.5), artifact_path="../../secret")
    write_trace(tmp_path, event)
    assert Page(build_report(tmp_path).read_text()).of("video") == []


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
    assert build_report(demo_folder).read_text() == html


def test_the_command_says_what_it_made(demo_folder: Path) -> None:
    result = CliRunner().invoke(report, [str(demo_folder), "--json"])
    said = orjson.loads(result.stdout)
    assert said["report"] == str(demo_folder / "report.html")
    assert said["runs"] == 3


def decoded(uri: str | None) -> bytes:
    return base64.b64decode((uri or "").partition(";base64,")[2], validate=True)


def test_what_counts_on_each_dimension_is_drawn_apart(tmp_path: Path) -> None:
    write_demo(tmp_path)
    hostile = "<script>alert(1)</script>"
    physics = [replace(pair, dimension=name) for pair in VOTES for name in ("physics", hostile)]
    write_atomically(tmp_path / "bt_reward.json", encode(train_on_pairs([*VOTES, *physics])))
    html = build_report(tmp_path).read_text()
    drawn = [str(picture["alt"]) for picture in Page(html).of("img")]
    assert sum("weight per critic" in alt for alt in drawn) == 3
    assert "What counts where people judge physics alone." in html
    assert hostile not in html


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
    run = next(run for run in read_demo(tmp_path).runs if run.summary.run_id == "run-a")
    assert (run.summary.best_iter, run.summary.best_score) == (0, 1.0)
    assert run.scores == (1.0,) * len(events)
    assert run.video is not None
    assert run.video.parent.name == "iter_00"
