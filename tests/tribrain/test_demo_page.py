"""``tribrain demo --ui``: somebody votes while it runs, sees what came of it, and ends it by Ctrl-C."""

from __future__ import annotations

import re
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import orjson
import pytest

from streams.kafka.settings import Settings
from streams.local_broker.jars import KafkaJars
from streams.snapshots.feed import SnapshotFeed
from tests.tribrain.processes import Command, command, needs_proc
from tests.waiting import wait_until
from trainers.datasets.vote_import import votes_in
from tribrain.cli import main
from tribrain.demo.page import open_in_browser

pytestmark = needs_proc

_DEMO_S = 180.0
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody saw of a demo that had come to its last planned run."""

    out: Path
    opened: str
    """The address that the browser was given."""
    moved: tuple[dict[str, float], dict[str, float]]
    """The published weights before the vote and after."""
    model_page: str
    exit_code: int
    said: str
    ended_s: float
    """From Ctrl-C until no process was left."""


@pytest.fixture(scope="module")
def shown(kafka_jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("demo-page")
    arguments = ["demo", "--ui", "--port", "0", "--tasks", "2", "--iters", "4", "--out", str(folder / "out")]
    environment = {
        "DISPLAY": ":99",
        "BROWSER": str(browser_that_notes(folder / "opened")),
        "TMPDIR": str(folder),
    }
    with command(arguments, folder / "said", **environment) as demo:
        url = address_in(demo)
        settings = broker_of(demo)
        with SnapshotFeed(settings) as feed:
            # One run more than was planned.
            wait_until(lambda: (folder / "out" / "runs" / "demo-0-002" / "trace.jsonl").exists(), _DEMO_S)
            wait_until(lambda: feed.latest() is not None, _DEMO_S)
            before = feed.latest()
            vote(url)
            wait_until(lambda: (s := feed.latest()) is not None and s.labels.get("human") == 1, _DEMO_S)
            after = feed.latest()
        assert before is not None
        assert after is not None
        wait_until(lambda: b"Labels from people" in get(f"{url}model"))
        model_page = get(f"{url}model").decode()
        exit_code, ended_s = interrupt(demo)
        return Shown(
            out=folder / "out",
            opened=(folder / "opened").read_text().strip(),
            moved=(before.weights, after.weights),
            model_page=model_page,
            exit_code=exit_code,
            said=demo.output,
            ended_s=ended_s,
        )


def test_the_browser_is_opened_at_the_address_that_is_printed(shown: Shown) -> None:
    assert f"vote by keyboard at {shown.opened}vote" in shown.said


def test_a_vote_moves_the_weights_of_the_published_model(shown: Shown) -> None:
    before, after = shown.moved
    assert before != after


def test_runs_beyond_the_plan_are_not_part_of_it(shown: Shown) -> None:
    summary = orjson.loads((shown.out / "summary.json").read_bytes())
    assert summary["tasks"] == 2
    assert len(summary["runs"]) > 2


def test_the_end_says_where_one_can_vote(shown: Shown) -> None:
    assert "You cannot vote there, as this demo's broker has ended; tribrain demo --ui lets" in shown.said


def test_labels_are_votes_and_no_validator_judges(shown: Shown) -> None:
    summary = orjson.loads((shown.out / "summary.json").read_bytes())
    assert set(summary["pairs_by_label_source"]) <= {"critic", "human"}
    assert summary["people"]["annotators"] == [
        {
            "name": "Ann", "votes": 1, "error_rate": None, "errors": None,
            "compared": 0, "agreed": 0, "weight": None,
        }
    ]  # fmt: skip


def test_the_votes_outlive_the_broker_and_the_next_demo_does_not_throw_them_away(
    shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    (kept,) = votes_in(shown.out / "votes.jsonl")
    assert (kept.annotator, kept.answer) == ("Ann", "left")
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--out", str(shown.out)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "holds a demo in which people voted (1 vote of Ann, kept in votes.jsonl)" in said
    assert "give --fresh to replace it" in said


def test_ctrl_c_after_the_planned_runs_is_no_interruption(shown: Shown) -> None:
    assert shown.exit_code == 0
    assert orjson.loads((shown.out / "summary.json").read_bytes())["interrupted"] is False
    assert (shown.out / "report.html").exists()


def test_nothing_is_left_running_or_on_the_disk(shown: Shown) -> None:
    assert shown.ended_s < _END_S
    assert list(shown.out.parent.glob("tribrain-kafka-*")) == [], "the broker's folder is gone"
    assert list((shown.out / "page").glob("*.sqlite")) == [], "every vote was on Kafka"


def test_ctrl_c_before_the_planned_runs_are_over_is_an_interruption(kafka: str, tmp_path: Path) -> None:
    arguments = ["demo", "--ui", "--no-browser", "--port", "0", "--bootstrap-servers", kafka]
    environment = {"DISPLAY": ":99", "BROWSER": str(browser_that_notes(tmp_path / "opened"))}
    with command([*arguments, "--out", str(tmp_path / "out")], tmp_path / "said", **environment) as demo:
        address_in(demo)
        exit_code, _ = interrupt(demo)
    assert exit_code == 130
    assert orjson.loads((tmp_path / "out" / "summary.json").read_bytes())["interrupted"] is True
    assert not (tmp_path / "opened").exists(), "--no-browser"


def test_a_port_that_is_taken_is_said_before_the_last_demo_is_thrown_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".tribrain-demo").touch()
    (tmp_path / "report.html").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as ended:
            main(["demo", "--ui", "--port", port, "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "choose another --port" in capsys.readouterr().err
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("options", "folder"), [((), "demo"), (("--ui", "--port", "0"), "demo-ui")])
def test_a_demo_to_vote_on_has_a_folder_of_its_own(
    options: tuple[str, ...],
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each refuses the folder that it would use, as that holds somebody's notes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / folder).mkdir(parents=True)
    (tmp_path / "outputs" / folder / "notes.txt").touch()
    with pytest.raises(SystemExit) as ended:
        main(["demo", *options])
    assert ended.value.code == 2
    assert f"outputs/{folder}: holds files" in capsys.readouterr().err


def test_without_a_screen_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BROWSER", str(browser_that_notes(tmp_path / "opened")))
    assert not open_in_browser("http://127.0.0.1:1/")
    assert not (tmp_path / "opened").exists()


def browser_that_notes(place: Path) -> Path:
    """A browser which does nothing but write down the address that it is given."""
    program = place.with_name("browser")
    program.write_text(f'#!/bin/sh\necho "$1" > {place}\n')
    program.chmod(0o755)
    return program


def address_in(demo: Command) -> str:
    wait_until(lambda: "vote by keyboard" in demo.output or demo.process.poll() is not None, _DEMO_S)
    found = re.search(r"vote by keyboard at (\S+)vote", demo.output)
    assert found is not None, demo.output
    return found[1]


def broker_of(demo: Command) -> Settings:
    found = re.search(r"at (127\.0\.0\.1:\d+)", demo.output)
    assert found is not None, demo.output
    return Settings(bootstrap_servers=found[1])


def vote(url: str) -> None:
    """As Ann's browser does."""
    cookie = {"Cookie": "tribrain_annotator=Ann"}
    pair = orjson.loads(get(f"{url}vote/next", cookie))["pair"]
    body = orjson.dumps({"pair": pair, "vote_id": "one", "answer": "left"})
    get(f"{url}vote/answers", cookie, body)


def get(url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> bytes:
    with urlopen(Request(url, body, headers or {}), timeout=10) as answer:
        content: bytes = answer.read()
        return content


def interrupt(demo: Command) -> tuple[int, float]:
    """Exit code, and seconds until no child was left."""
    sent_s = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    wait_until(lambda: not demo.children(), 30)
    gone_s = time.monotonic() - sent_s
    return demo.wait(60), gone_s
