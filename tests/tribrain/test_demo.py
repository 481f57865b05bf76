"""The whole loop as its user meets it: processes, signals, and what is on disk afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest

from runner.video import read_video
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.local_broker.jars import KafkaJars
from streams.messages.codec import decode_pair
from streams.messages.contracts import PreferencePair, RunEnd, TraceEvent
from streams.messages.files import read_pairs, read_snapshot, read_trace
from streams.snapshots.feed import SnapshotFeed
from tests.interrupts import interrupts_heard
from tests.tribrain.processes import Command, command, needs_proc
from tests.waiting import wait_until
from tribrain.demo.progress import Monitor, figures
from tribrain.shell.interrupts import Interrupts

pytestmark = needs_proc

_DEMO_S = 180.0
_END_S = 5.0
_KEYS = {
    "events", "pairs", "pairs_by_label_source", "snapshots", "first_snapshot_s", "wall_s",
    "gate_opened_at_pair", "runs", "weights", "log_loss", "log_loss_critics_mean", "broker",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(kafka_jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo that was left alone, on a broker of its own."""
    out = tmp_path_factory.mktemp("demo") / "out"
    arguments = ["demo", "--tasks", "6", "--iters", "4", "--annotators", "3", "--out", str(out)]
    with command(arguments, out.parent / "said") as demo:
        assert demo.wait(_DEMO_S) == 0, demo.output
    return out


@pytest.fixture(scope="module")
def summary(finished: Path) -> dict[str, Any]:
    return summary_of(finished)


def test_the_summary_has_what_is_promised(summary: dict[str, Any]) -> None:
    assert summary.keys() >= _KEYS
    assert {"run_id", "iterations", "versions", "best_score"} <= summary["runs"][0].keys()


def test_it_says_that_the_broker_was_apache_kafka(summary: dict[str, Any]) -> None:
    assert summary["broker"].startswith("Apache Kafka 4")


def test_the_events_are_the_lines_of_all_traces(finished: Path, summary: dict[str, Any]) -> None:
    lines = [line for run in run_folders(finished) for line in read_trace(run / "trace.jsonl")]
    assert summary["events"] == len(lines) == 6 * (4 + 1)


def test_every_run_is_in_the_summary_as_its_trace_tells_it(finished: Path, summary: dict[str, Any]) -> None:
    assert {run["run_id"] for run in summary["runs"]} == {folder.name for folder in run_folders(finished)}
    for run in summary["runs"]:
        events = trace_events(finished / "runs" / run["run_id"])
        assert run["iterations"] == len(events) == 4
        assert run["best_score"] == events[-1].meta["best_score"]
        assert run["best_iter"] == events[-1].meta["best_iter"]


def test_every_pair_was_learnt_once(summary: dict[str, Any]) -> None:
    by_source = summary["pairs_by_label_source"]
    assert summary["pairs"] == summary["pairs_learnt"] == sum(by_source.values()) > 0


def test_the_last_model_is_the_one_of_the_summary(finished: Path, summary: dict[str, Any]) -> None:
    model = read_snapshot(finished / "bt_reward.json")
    assert model.weights == summary["weights"] != {}
    assert sum(model.labels.values()) == summary["pairs"]


def test_the_first_snapshot_came_while_the_demo_ran(summary: dict[str, Any]) -> None:
    assert 0 < summary["first_snapshot_s"] <= summary["wall_s"]
    assert summary["snapshots"] >= 1


def test_every_iteration_left_a_video_that_plays(finished: Path) -> None:
    for folder in run_folders(finished):
        for event in trace_events(folder):
            frames, _ = read_video(folder / event.artifact_path)
            assert len(frames) > 1


def test_every_run_has_its_pairs_beside_its_trace(finished: Path, summary: dict[str, Any]) -> None:
    ids = offline_pair_ids(finished)
    assert all((folder / "pairs.jsonl").is_file() for folder in run_folders(finished))
    assert 0 < len(ids) <= summary["pairs"]


def test_there_is_a_report(finished: Path) -> None:
    assert "demo-0-005" in (finished / "report.html").read_text()


def test_the_command_that_it_prints_in_the_end_opens_the_page_on_its_runs(finished: Path) -> None:
    printed = re.search(r"in the page: (.+ui --runs .+)", (finished.parent / "said").read_text())
    assert printed is not None
    said = finished.parent / "page"
    # Any port but the usual one, on which somebody else may test.
    with page_by(f"exec {printed[1]} --port 0", said) as url, urlopen(f"{url}runs") as answer:
        assert b"6 runs" in answer.read()


def test_every_annotator_voted_and_the_errors_are_those_that_were_meant(summary: dict[str, Any]) -> None:
    people = summary["people"]
    assert [each["name"] for each in people["annotators"]] == [f"simulated-{i}" for i in (1, 2, 3)]
    assert [each["error_rate"] for each in people["annotators"]] == pytest.approx([0.05, 0.20, 0.35])
    assert all(each["votes"] >= 12 for each in people["annotators"])
    assert all(0 <= each["errors"] < each["votes"] for each in people["annotators"])
    assert people["votes"] == sum(each["votes"] for each in people["annotators"])


def test_all_votes_were_learnt_and_the_end_says_what_came_of_them(
    finished: Path, summary: dict[str, Any]
) -> None:
    people, said = summary["people"], (finished.parent / "said").read_text()
    assert summary["pairs_by_label_source"]["human"] == people["votes"]
    assert f"{people['votes']} votes; Krippendorff's alpha" in said
    for each in people["annotators"]:
        assert each["compared"] > 0, "pairs that one has judged are asked of others, too"
        assert re.search(rf"{each['name']} .* {each['weight']:.2f} ", said)


@pytest.mark.long
def test_a_trainer_that_is_killed_costs_no_pair_and_counts_none_twice(kafka: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["demo", "--tasks", "24", "--iters", "4", "--out", str(out), "--bootstrap-servers", kafka]
    with command(arguments, tmp_path / "said") as demo:
        settings = settings_of(demo, kafka)
        with SnapshotFeed(settings) as feed:
            wait_until(lambda: feed.latest() is not None, _DEMO_S)
        (trainer,) = demo.started("serve-trainer")
        os.kill(trainer, signal.SIGKILL)
        assert demo.wait(_DEMO_S) == 0, demo.output
    summary = summary_of(out)
    formed = pair_ids_on_kafka(settings)
    assert summary["trainer_restarts"] >= 1
    assert offline_pair_ids(out) <= formed
    assert summary["pairs_learnt"] == summary["pairs"] == len(formed)


@pytest.fixture(scope="module")
def stopped_by_ctrl_c(kafka_jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo on a broker of its own that was interrupted while four runs were under way."""
    folder = tmp_path_factory.mktemp("ctrl-c")
    stop_in_mid_run(folder, signal.SIGINT)
    return folder / "out"


def test_ctrl_c_leaves_a_summary_that_says_so(stopped_by_ctrl_c: Path) -> None:
    assert summary_of(stopped_by_ctrl_c)["interrupted"] is True


def test_ctrl_c_leaves_every_trace_whole_with_its_end(stopped_by_ctrl_c: Path) -> None:
    folders = run_folders(stopped_by_ctrl_c)
    assert len(folders) >= 4
    for folder in folders:
        *events, end = read_trace(folder / "trace.jsonl")
        assert isinstance(end, RunEnd)
        assert end.iterations == tuple(range(len(events)))
        assert end.stop_reason in {"interrupted", "max_iters"}


def test_runs_that_ctrl_c_cut_short_are_in_the_summary(stopped_by_ctrl_c: Path) -> None:
    runs = {run["run_id"]: run for run in summary_of(stopped_by_ctrl_c)["runs"]}
    assert runs.keys() == {folder.name for folder in run_folders(stopped_by_ctrl_c)}
    assert "interrupted" in {run["stop_reason"] for run in runs.values()}


def test_ctrl_c_still_leaves_a_report(stopped_by_ctrl_c: Path) -> None:
    assert "This demo was interrupted" in (stopped_by_ctrl_c / "report.html").read_text()


def test_sigterm_ends_the_demo_as_ctrl_c_does(kafka: str, tmp_path: Path) -> None:
    stop_in_mid_run(tmp_path, signal.SIGTERM, "--bootstrap-servers", kafka)
    assert summary_of(tmp_path / "out")["interrupted"] is True


def test_ctrl_c_while_the_broker_starts_leaves_nothing_behind(kafka_jars: KafkaJars, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    arguments = ["demo", "--out", str(tmp_path / "out")]
    with command(arguments, tmp_path / "said", TMPDIR=str(temporary)) as demo:
        wait_until(lambda: demo.started("kafka.Kafka"), _DEMO_S)
        interrupt(demo, signal.SIGINT)
    assert list(temporary.glob("tribrain-*")) == []


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_stop_the_cleaning_up(second: signal.Signals) -> None:
    with interrupts_heard(), Interrupts():
        assert interrupted_by(signal.SIGINT)
        assert not interrupted_by(second)


def test_a_signal_waits_until_a_child_is_started_and_known() -> None:
    done = []

    def start(interrupts: Interrupts) -> None:
        with interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            done.append("started")

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        start(interrupts)
    assert done == ["started"]


def test_signals_mean_afterwards_what_they_meant_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Interrupts():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_from_the_start_stays_so(ignored: signal.Signals) -> None:
    """As nohup and the background of a script have it; another one is heard."""
    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        with Interrupts():
            assert not interrupted_by(ignored)
            assert interrupted_by(signal.SIGTERM)
    finally:
        signal.signal(ignored, before)


def test_before_the_first_pair_the_demo_says_what_it_waits_for(
    in_memory_settings: Settings,
) -> None:
    with Monitor(in_memory_settings, services=[], started=time.monotonic(), tasks=3) as monitor:
        shown = dict(figures(monitor))
        monitor.labels["critic"] = 1
        later = dict(figures(monitor))
    assert shown["snapshot"] == "none yet; the trainer is starting, and forms pairs from the first runs"
    assert later["snapshot"] == "none yet; the trainer learns its first pairs"


def test_the_next_demo_replaces_the_last(kafka: str, tmp_path: Path) -> None:
    """It is stopped at once: what counts is that nothing of the old one is taken for new."""
    out = tmp_path / "out"
    (out / "runs" / "demo-9-000").mkdir(parents=True)
    (out / ".tribrain-demo").touch()
    with command(["demo", "--out", str(out), "--bootstrap-servers", kafka], tmp_path / "said") as demo:
        wait_until(lambda: (out / "trainer.log").exists(), _DEMO_S)
        interrupt(demo, signal.SIGINT)
        assert f"{out}: the earlier demo there is replaced" in demo.output
    assert not (out / "runs" / "demo-9-000").exists()


def test_a_demo_that_forms_no_pair_ends_without_waiting_for_a_model(kafka: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["demo", "--tasks", "1", "--iters", "1", "--out", str(out), "--bootstrap-servers", kafka]
    with command(arguments, tmp_path / "said") as demo:
        assert demo.wait(_DEMO_S) == 0, demo.output
    summary = summary_of(out)
    assert (summary["events"], summary["pairs"], summary["snapshots"]) == (2, 0, 0)
    assert summary["wall_s"] < 45


@contextmanager
def page_by(shell_command: str, said: Path) -> Iterator[str]:
    """The address of a page that a command opens, until the block is left."""
    with said.open("wb") as file:
        process = subprocess.Popen(["bash", "-c", shell_command], stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "the page is at" in said.read_text() or process.poll() is not None, _DEMO_S)
        found = re.search(r"the page is at (\S+)", said.read_text())
        assert found is not None, said.read_text()
        yield found[1]
    finally:
        process.terminate()
        process.wait(20)


def stop_in_mid_run(folder: Path, number: signal.Signals, *options: str) -> None:
    out = folder / "out"
    with command(["demo", "--tasks", "40", "--out", str(out), *options], folder / "said") as demo:
        ended = demo.process.poll
        wait_until(lambda: ended() is not None or len(list(out.glob("runs/*/iter_01"))) >= 4, _DEMO_S)
        assert ended() is None, demo.output
        assert demo.started("serve-trainer")
        interrupt(demo, number)


def interrupt(demo: Command, number: signal.Signals) -> None:
    """Send the signal; within five seconds no child is left, and the demo ends with 130."""
    demo.process.send_signal(number)
    sent = time.monotonic()
    wait_until(lambda: not demo.children(), _END_S)
    assert time.monotonic() - sent < _END_S
    assert demo.wait(30) == 130, demo.output
    assert demo.output.splitlines()[-1] == "tribrain: interrupted"


def interrupted_by(number: signal.Signals) -> bool:
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        return True
    return False


def summary_of(out: Path) -> dict[str, Any]:
    summary: dict[str, Any] = orjson.loads((out / "summary.json").read_bytes())
    return summary


def run_folders(out: Path) -> list[Path]:
    return sorted((out / "runs").iterdir())


def trace_events(run: Path) -> list[TraceEvent]:
    return [event for event in read_trace(run / "trace.jsonl") if isinstance(event, TraceEvent)]


def offline_pair_ids(out: Path) -> set[str]:
    files = [folder / "pairs.jsonl" for folder in run_folders(out)]
    pairs = [pair for file in files if file.stat().st_size for pair in read_pairs(file)]
    return {pair.pair_id for pair in pairs if isinstance(pair, PreferencePair)}


def settings_of(demo: Command, bootstrap_servers: str) -> Settings:
    """The demo says on which topics it works."""

    def said() -> re.Match[str] | None:
        return re.search(r"topics (\S+)\.\*", demo.output)

    wait_until(said, _DEMO_S)
    found = said()
    assert found is not None
    return Settings(bootstrap_servers=bootstrap_servers, topic_prefix=found[1])


def pair_ids_on_kafka(settings: Settings) -> set[str]:
    messages = [decode_pair(m.value, m.source) for m in read_topic(settings, settings.pairs_topic)]
    return {pair.pair_id for pair in messages if isinstance(pair, PreferencePair)}
